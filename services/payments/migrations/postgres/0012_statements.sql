-- Statements of rails and banks. States: 0 receiving, 1 matching, 2 done. The attempt is what an
-- upload that was overtaken by another notices it by.
CREATE TABLE statement (
    statement_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    currency TEXT COLLATE "C" NOT NULL,
    from_at TIMESTAMPTZ NOT NULL,
    to_at TIMESTAMPTZ NOT NULL,
    state BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    fingerprint BYTEA,
    debit_count BIGINT NOT NULL,
    debit_minor BIGINT NOT NULL,
    credit_count BIGINT NOT NULL,
    credit_minor BIGINT NOT NULL,
    matched_count BIGINT NOT NULL,
    item_count BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- Direction: 1 money went out, 2 it came back. States: 0 new, 1 matched, 2 an item.
CREATE TABLE statement_line (
    statement_id TEXT COLLATE "C" NOT NULL REFERENCES statement (statement_id),
    line_no BIGINT NOT NULL,
    reference TEXT COLLATE "C" NOT NULL,
    end_to_end UUID,
    direction BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL,
    booked_at TIMESTAMPTZ NOT NULL,
    state BIGINT NOT NULL,
    batch_id UUID,
    ordinal BIGINT,
    PRIMARY KEY (statement_id, line_no),
    UNIQUE (statement_id, reference)
);
CREATE INDEX statement_line_payment ON statement_line (end_to_end);
CREATE INDEX statement_line_state ON statement_line (statement_id, state, line_no);

-- One byte an instruction of a chunk that was sent: 0 on no statement yet, 1 on one, 2 dealt with
-- as an item. What is open are settled instructions with a 0.
CREATE TABLE chunk_match (
    batch_id UUID NOT NULL,
    chunk_no BIGINT NOT NULL,
    marks BYTEA NOT NULL,
    open_count BIGINT NOT NULL,
    PRIMARY KEY (batch_id, chunk_no)
);
ALTER TABLE batch_chunk ADD COLUMN settled_at TIMESTAMPTZ;

-- What does not agree. Kinds: 1 missing, 2 unexpected, 3 differing, 4 returned. States: 1 open,
-- 2 proposed, 3 resolved, 4 matched later. Resolutions: 0 none, 1 accept, 2 post.
CREATE TABLE reconciliation_item (
    item_id UUID NOT NULL PRIMARY KEY,
    kind BIGINT NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    expected_minor BIGINT NOT NULL,
    found_minor BIGINT NOT NULL,
    batch_id UUID,
    ordinal BIGINT,
    statement_id TEXT COLLATE "C" NOT NULL,
    line_no BIGINT,
    since TIMESTAMPTZ NOT NULL,
    state BIGINT NOT NULL,
    resolution BIGINT NOT NULL,
    maker TEXT COLLATE "C" NOT NULL,
    checker TEXT COLLATE "C" NOT NULL,
    transfer_id UUID
);
CREATE UNIQUE INDEX reconciliation_item_line ON reconciliation_item (statement_id, line_no)
    WHERE line_no IS NOT NULL;
CREATE UNIQUE INDEX reconciliation_item_missing ON reconciliation_item (batch_id, ordinal)
    WHERE kind = 1;
CREATE INDEX reconciliation_item_age ON reconciliation_item (state, since, item_id);
