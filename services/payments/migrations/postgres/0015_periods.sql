-- Accounting periods, one after the other without a gap. States: 1 open, 2 balances are being
-- copied, 3 their root is being built, 4 closed.
CREATE TABLE ledger_period (
    period_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    period_no BIGINT NOT NULL UNIQUE,
    starts_at TIMESTAMPTZ NOT NULL,
    ends_at TIMESTAMPTZ NOT NULL,
    state BIGINT NOT NULL,
    -- The last account that the step in hand has dealt with.
    cursor_id UUID,
    account_count BIGINT NOT NULL,
    page_count BIGINT NOT NULL,
    root BYTEA,
    closed_at TIMESTAMPTZ,
    CONSTRAINT ledger_period_span CHECK (starts_at < ends_at)
);

-- Counters of an account at the end of a period.
CREATE TABLE period_balance (
    period_id TEXT COLLATE "C" NOT NULL REFERENCES ledger_period (period_id),
    account_id UUID NOT NULL REFERENCES ledger_account (account_id),
    debits_pending BIGINT NOT NULL,
    debits_posted BIGINT NOT NULL,
    credits_pending BIGINT NOT NULL,
    credits_posted BIGINT NOT NULL,
    PRIMARY KEY (period_id, account_id)
);

-- Roots over pages of balances: exact subtrees of the period's tree.
CREATE TABLE period_page (
    period_id TEXT COLLATE "C" NOT NULL REFERENCES ledger_period (period_id),
    page_no BIGINT NOT NULL,
    first_id UUID NOT NULL,
    root BYTEA NOT NULL,
    PRIMARY KEY (period_id, page_no)
);

-- Transfers that took effect before they were made.
CREATE TABLE transfer_effective (
    transfer_id UUID NOT NULL PRIMARY KEY REFERENCES transfer (transfer_id),
    debit_id UUID NOT NULL,
    credit_id UUID NOT NULL,
    amount_minor BIGINT NOT NULL,
    effective_at TIMESTAMPTZ NOT NULL,
    made_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX transfer_effective_made ON transfer_effective (made_at, effective_at);

-- The end of the last period that has the account's balance: nothing moves it before that.
ALTER TABLE ledger_account ADD COLUMN closed_to TIMESTAMPTZ;
