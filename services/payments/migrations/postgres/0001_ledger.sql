-- Accounts of the ledger. Counters are minor units; the balance is credits less debits.
CREATE TABLE ledger_account (
    account_id UUID NOT NULL PRIMARY KEY,
    code TEXT COLLATE "C" NOT NULL UNIQUE,
    currency TEXT COLLATE "C" NOT NULL,
    kind BIGINT NOT NULL,
    debits_pending BIGINT NOT NULL DEFAULT 0,
    debits_posted BIGINT NOT NULL DEFAULT 0,
    credits_pending BIGINT NOT NULL DEFAULT 0,
    credits_posted BIGINT NOT NULL DEFAULT 0,
    floor_minor BIGINT,
    closed BOOLEAN NOT NULL,
    version BIGINT NOT NULL DEFAULT 0,
    moved_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT ledger_account_floor
        CHECK (floor_minor IS NULL
            OR credits_posted - debits_posted - debits_pending >= floor_minor),
    CONSTRAINT ledger_account_pending CHECK (debits_pending >= 0 AND credits_pending >= 0)
) WITH (fillfactor = 50);

-- Transfers never change. The last 16 bits of the key are the place in the group.
CREATE TABLE transfer (
    transfer_id UUID NOT NULL PRIMARY KEY,
    debit_id UUID NOT NULL REFERENCES ledger_account (account_id),
    credit_id UUID NOT NULL REFERENCES ledger_account (account_id),
    amount_minor BIGINT NOT NULL CONSTRAINT transfer_amount CHECK (amount_minor > 0),
    kind BIGINT NOT NULL,
    made_at TIMESTAMPTZ NOT NULL,
    pending_id UUID,
    reason TEXT COLLATE "C" NOT NULL
);

-- The key makes sure that a hold ends at most once.
CREATE TABLE transfer_resolution (
    pending_id UUID NOT NULL PRIMARY KEY REFERENCES transfer (transfer_id),
    outcome BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL,
    transfer_id UUID NOT NULL,
    resolved_at TIMESTAMPTZ NOT NULL
);

-- Open holds with a time-out, and no others.
CREATE TABLE transfer_due (
    pending_id UUID NOT NULL PRIMARY KEY,
    expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX transfer_due_order ON transfer_due (expires_at, pending_id);

-- One row for each account and group: its counters afterwards.
CREATE TABLE account_movement (
    account_id UUID NOT NULL,
    moved_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    group_id UUID NOT NULL,
    debits_pending BIGINT NOT NULL,
    debits_posted BIGINT NOT NULL,
    credits_pending BIGINT NOT NULL,
    credits_posted BIGINT NOT NULL,
    PRIMARY KEY (account_id, moved_at, version)
);
