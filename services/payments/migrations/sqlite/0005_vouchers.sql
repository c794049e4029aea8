CREATE TABLE calling_block (
    name TEXT NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE voucher_group (
    name TEXT NOT NULL PRIMARY KEY,
    stock INTEGER CONSTRAINT voucher_group_stock CHECK (stock IS NULL OR stock >= 0),
    programme_id BLOB REFERENCES programme (programme_id),
    created_at INTEGER NOT NULL
) STRICT;

-- The key for look-ups is a keyed hash over name, bank details and group.
CREATE TABLE merchant (
    merchant_id BLOB NOT NULL PRIMARY KEY,
    lookup BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    bank_details BLOB NOT NULL,
    voucher_group TEXT NOT NULL REFERENCES voucher_group (name),
    blocked INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Numbers are never in clear: a keyed hash finds them, a sealed copy shows them to who may see.
CREATE TABLE voucher (
    serial TEXT NOT NULL PRIMARY KEY,
    number_hash BLOB UNIQUE,
    number_sealed BLOB,
    calling_block TEXT NOT NULL,
    voucher_group TEXT NOT NULL REFERENCES voucher_group (name),
    currency TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    amount_text TEXT NOT NULL,
    state INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    hold_until INTEGER,
    expires_at INTEGER,
    redeemed_at INTEGER,
    merchant_id BLOB,
    transfer_id BLOB,
    batch_id BLOB,
    ordinal INTEGER
) STRICT;
CREATE UNIQUE INDEX voucher_of_instruction ON voucher (batch_id, ordinal)
    WHERE batch_id IS NOT NULL;
CREATE INDEX voucher_stock ON voucher (voucher_group, state, currency);

-- Serial numbers follow one another.
CREATE TABLE voucher_serial (
    one INTEGER NOT NULL PRIMARY KEY,
    next_serial INTEGER NOT NULL
) STRICT;
