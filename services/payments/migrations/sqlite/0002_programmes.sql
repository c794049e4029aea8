-- Ledger accounts that hold money for payments.
CREATE TABLE funding_account (
    account_id BLOB NOT NULL PRIMARY KEY REFERENCES ledger_account (account_id),
    name TEXT NOT NULL UNIQUE,
    currency TEXT NOT NULL,
    voucher_group TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX funding_account_group ON funding_account (voucher_group, currency)
    WHERE voucher_group <> '';

CREATE TABLE programme (
    programme_id BLOB NOT NULL PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    currency TEXT NOT NULL,
    funding_account_id BLOB NOT NULL REFERENCES funding_account (account_id),
    fallback_group TEXT NOT NULL,
    approvals_needed INTEGER NOT NULL,
    batch_ceiling_minor INTEGER NOT NULL,
    stopped INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Blocks outside that submit beneficiaries and batches. The number follows from the id.
CREATE TABLE source_block (
    source_no INTEGER NOT NULL PRIMARY KEY,
    source_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    programme_id BLOB REFERENCES programme (programme_id),
    active INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Requests that were answered, so that a repeat gets the same answer. The answer is sealed.
CREATE TABLE source_request (
    source_no INTEGER NOT NULL,
    operation TEXT NOT NULL,
    request TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    answer BLOB NOT NULL,
    answered_at INTEGER NOT NULL,
    PRIMARY KEY (source_no, operation, request)
) STRICT;
