-- Statements of rails and banks. States: 0 receiving, 1 matching, 2 done. The attempt is what an
-- upload that was overtaken by another notices it by.
CREATE TABLE statement (
    statement_id TEXT NOT NULL PRIMARY KEY,
    currency TEXT NOT NULL,
    from_at INTEGER NOT NULL,
    to_at INTEGER NOT NULL,
    state INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    fingerprint BLOB,
    debit_count INTEGER NOT NULL,
    debit_minor INTEGER NOT NULL,
    credit_count INTEGER NOT NULL,
    credit_minor INTEGER NOT NULL,
    matched_count INTEGER NOT NULL,
    item_count INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Direction: 1 money went out, 2 it came back. States: 0 new, 1 matched, 2 an item.
CREATE TABLE statement_line (
    statement_id TEXT NOT NULL REFERENCES statement (statement_id),
    line_no INTEGER NOT NULL,
    reference TEXT NOT NULL,
    end_to_end BLOB,
    direction INTEGER NOT NULL,
    amount_minor INTEGER NOT NULL,
    booked_at INTEGER NOT NULL,
    state INTEGER NOT NULL,
    batch_id BLOB,
    ordinal INTEGER,
    PRIMARY KEY (statement_id, line_no),
    UNIQUE (statement_id, reference)
) STRICT;
CREATE INDEX statement_line_payment ON statement_line (end_to_end);
CREATE INDEX statement_line_state ON statement_line (statement_id, state, line_no);

-- One byte an instruction of a chunk that was sent: 0 on no statement yet, 1 on one, 2 dealt with
-- as an item. What is open are settled instructions with a 0.
CREATE TABLE chunk_match (
    batch_id BLOB NOT NULL,
    chunk_no INTEGER NOT NULL,
    marks BLOB NOT NULL,
    open_count INTEGER NOT NULL,
    PRIMARY KEY (batch_id, chunk_no)
) STRICT;
ALTER TABLE batch_chunk ADD COLUMN settled_at INTEGER;

-- What does not agree. Kinds: 1 missing, 2 unexpected, 3 differing, 4 returned. States: 1 open,
-- 2 proposed, 3 resolved, 4 matched later. Resolutions: 0 none, 1 accept, 2 post.
CREATE TABLE reconciliation_item (
    item_id BLOB NOT NULL PRIMARY KEY,
    kind INTEGER NOT NULL,
    currency TEXT NOT NULL,
    expected_minor INTEGER NOT NULL,
    found_minor INTEGER NOT NULL,
    batch_id BLOB,
    ordinal INTEGER,
    statement_id TEXT NOT NULL,
    line_no INTEGER,
    since INTEGER NOT NULL,
    state INTEGER NOT NULL,
    resolution INTEGER NOT NULL,
    maker TEXT NOT NULL,
    checker TEXT NOT NULL,
    transfer_id BLOB
) STRICT;
CREATE UNIQUE INDEX reconciliation_item_line ON reconciliation_item (statement_id, line_no)
    WHERE line_no IS NOT NULL;
CREATE UNIQUE INDEX reconciliation_item_missing ON reconciliation_item (batch_id, ordinal)
    WHERE kind = 1;
CREATE INDEX reconciliation_item_age ON reconciliation_item (state, since, item_id);
