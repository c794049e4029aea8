CREATE TABLE calling_block (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE voucher_group (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    stock BIGINT CONSTRAINT voucher_group_stock CHECK (stock IS NULL OR stock >= 0),
    programme_id UUID REFERENCES programme (programme_id),
    created_at TIMESTAMPTZ NOT NULL
);

-- The key for look-ups is a keyed hash over name, bank details and group.
CREATE TABLE merchant (
    merchant_id UUID NOT NULL PRIMARY KEY,
    lookup BYTEA NOT NULL UNIQUE,
    name TEXT COLLATE "C" NOT NULL,
    bank_details BYTEA NOT NULL,
    voucher_group TEXT COLLATE "C" NOT NULL REFERENCES voucher_group (name),
    blocked BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- Numbers are never in clear: a keyed hash finds them, a sealed copy shows them to who may see.
CREATE TABLE voucher (
    serial TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    number_hash BYTEA UNIQUE,
    number_sealed BYTEA,
    calling_block TEXT COLLATE "C" NOT NULL,
    voucher_group TEXT COLLATE "C" NOT NULL REFERENCES voucher_group (name),
    currency TEXT COLLATE "C" NOT NULL,
    amount_minor BIGINT NOT NULL,
    amount_text TEXT COLLATE "C" NOT NULL,
    state BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    hold_until TIMESTAMPTZ,
    expires_at TIMESTAMPTZ,
    redeemed_at TIMESTAMPTZ,
    merchant_id UUID,
    transfer_id UUID,
    batch_id UUID,
    ordinal BIGINT
);
CREATE UNIQUE INDEX voucher_of_instruction ON voucher (batch_id, ordinal)
    WHERE batch_id IS NOT NULL;
CREATE INDEX voucher_stock ON voucher (voucher_group, state, currency);

-- Serial numbers follow one another.
CREATE TABLE voucher_serial (
    one BIGINT NOT NULL PRIMARY KEY,
    next_serial BIGINT NOT NULL
);
