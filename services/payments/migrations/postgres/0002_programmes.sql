-- Ledger accounts that hold money for payments.
CREATE TABLE funding_account (
    account_id UUID NOT NULL PRIMARY KEY REFERENCES ledger_account (account_id),
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    currency TEXT COLLATE "C" NOT NULL,
    voucher_group TEXT COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX funding_account_group ON funding_account (voucher_group, currency)
    WHERE voucher_group <> '';

CREATE TABLE programme (
    programme_id UUID NOT NULL PRIMARY KEY,
    code TEXT COLLATE "C" NOT NULL UNIQUE,
    name TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    funding_account_id UUID NOT NULL REFERENCES funding_account (account_id),
    fallback_group TEXT COLLATE "C" NOT NULL,
    approvals_needed BIGINT NOT NULL,
    batch_ceiling_minor BIGINT NOT NULL,
    stopped BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- Blocks outside that submit beneficiaries and batches. The number follows from the id.
CREATE TABLE source_block (
    source_no BIGINT NOT NULL PRIMARY KEY,
    source_id TEXT COLLATE "C" NOT NULL UNIQUE,
    name TEXT COLLATE "C" NOT NULL,
    programme_id UUID REFERENCES programme (programme_id),
    active BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- Requests that were answered, so that a repeat gets the same answer. The answer is sealed.
CREATE TABLE source_request (
    source_no BIGINT NOT NULL,
    operation TEXT COLLATE "C" NOT NULL,
    request TEXT COLLATE "C" NOT NULL,
    fingerprint BYTEA NOT NULL,
    answer BYTEA NOT NULL,
    answered_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (source_no, operation, request)
);
