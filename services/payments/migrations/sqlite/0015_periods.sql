-- Accounting periods, one after the other without a gap. States: 1 open, 2 balances are being
-- copied, 3 their root is being built, 4 closed.
CREATE TABLE ledger_period (
    period_id TEXT NOT NULL PRIMARY KEY,
    period_no INTEGER NOT NULL UNIQUE,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    state INTEGER NOT NULL,
    -- The last account that the step in hand has dealt with.
    cursor_id BLOB,
    account_count INTEGER NOT NULL,
    page_count INTEGER NOT NULL,
    root BLOB,
    closed_at INTEGER,
    CONSTRAINT ledger_period_span CHECK (starts_at < ends_at)
) STRICT;

-- Counters of an account at the end of a period.
CREATE TABLE period_balance (
    period_id TEXT NOT NULL REFERENCES ledger_period (period_id),
    account_id BLOB NOT NULL REFERENCES ledger_account (account_id),
    debits_pending INTEGER NOT NULL,
    debits_posted INTEGER NOT NULL,
    credits_pending INTEGER NOT NULL,
    credits_posted INTEGER NOT NULL,
    PRIMARY KEY (period_id, account_id)
) STRICT;

-- Roots over pages of balances: exact subtrees of the period's tree.
CREATE TABLE period_page (
    period_id TEXT NOT NULL REFERENCES ledger_period (period_id),
    page_no INTEGER NOT NULL,
    first_id BLOB NOT NULL,
    root BLOB NOT NULL,
    PRIMARY KEY (period_id, page_no)
) STRICT;

-- Transfers that took effect before they were made.
CREATE TABLE transfer_effective (
    transfer_id BLOB NOT NULL PRIMARY KEY REFERENCES transfer (transfer_id),
    debit_id BLOB NOT NULL,
    credit_id BLOB NOT NULL,
    amount_minor INTEGER NOT NULL,
    effective_at INTEGER NOT NULL,
    made_at INTEGER NOT NULL
) STRICT;
CREATE INDEX transfer_effective_made ON transfer_effective (made_at, effective_at);

-- The end of the last period that has the account's balance: nothing moves it before that.
ALTER TABLE ledger_account ADD COLUMN closed_to INTEGER;
