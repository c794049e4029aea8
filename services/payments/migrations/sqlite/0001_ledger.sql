-- Accounts of the ledger. Counters are minor units; the balance is credits less debits.
CREATE TABLE ledger_account (
    account_id BLOB NOT NULL PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    currency TEXT NOT NULL,
    kind INTEGER NOT NULL,
    debits_pending INTEGER NOT NULL DEFAULT 0,
    debits_posted INTEGER NOT NULL DEFAULT 0,
    credits_pending INTEGER NOT NULL DEFAULT 0,
    credits_posted INTEGER NOT NULL DEFAULT 0,
    floor_minor INTEGER,
    closed INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 0,
    moved_at INTEGER,
    created_at INTEGER NOT NULL,
    CONSTRAINT ledger_account_floor
        CHECK (floor_minor IS NULL
            OR credits_posted - debits_posted - debits_pending >= floor_minor),
    CONSTRAINT ledger_account_pending CHECK (debits_pending >= 0 AND credits_pending >= 0)
) STRICT;

-- Transfers never change. The last 16 bits of the key are the place in the group.
CREATE TABLE transfer (
    transfer_id BLOB NOT NULL PRIMARY KEY,
    debit_id BLOB NOT NULL REFERENCES ledger_account (account_id),
    credit_id BLOB NOT NULL REFERENCES ledger_account (account_id),
    amount_minor INTEGER NOT NULL CONSTRAINT transfer_amount CHECK (amount_minor > 0),
    kind INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    pending_id BLOB,
    reason TEXT NOT NULL
) STRICT;

-- The key makes sure that a hold ends at most once.
CREATE TABLE transfer_resolution (
    pending_id BLOB NOT NULL PRIMARY KEY REFERENCES transfer (transfer_id),
    outcome INTEGER NOT NULL,
    amount_minor INTEGER NOT NULL,
    transfer_id BLOB NOT NULL,
    resolved_at INTEGER NOT NULL
) STRICT;

-- Open holds with a time-out, and no others.
CREATE TABLE transfer_due (
    pending_id BLOB NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX transfer_due_order ON transfer_due (expires_at, pending_id);

-- One row for each account and group: its counters afterwards.
CREATE TABLE account_movement (
    account_id BLOB NOT NULL,
    moved_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    group_id BLOB NOT NULL,
    debits_pending INTEGER NOT NULL,
    debits_posted INTEGER NOT NULL,
    credits_pending INTEGER NOT NULL,
    credits_posted INTEGER NOT NULL,
    PRIMARY KEY (account_id, moved_at, version)
) STRICT;
