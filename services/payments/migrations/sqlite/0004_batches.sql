CREATE TABLE batch (
    batch_id BLOB NOT NULL PRIMARY KEY,
    source_no INTEGER NOT NULL REFERENCES source_block (source_no),
    source_request TEXT NOT NULL,
    source_batch TEXT NOT NULL,
    programme_id BLOB NOT NULL REFERENCES programme (programme_id),
    currency TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    state INTEGER NOT NULL,
    state_reason TEXT NOT NULL,
    maker TEXT NOT NULL,
    process_id TEXT,
    expected_count INTEGER NOT NULL,
    chunk_rows INTEGER NOT NULL,
    received_count INTEGER NOT NULL,
    refused_count INTEGER NOT NULL,
    accepted_count INTEGER NOT NULL,
    accepted_minor INTEGER NOT NULL,
    unresolved_count INTEGER NOT NULL,
    unresolved_minor INTEGER NOT NULL,
    root BLOB,
    digest BLOB,
    reconciliation TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (source_no, source_request)
) STRICT;
CREATE INDEX batch_order ON batch (created_at, batch_id);

-- Rows in groups of a fixed size. State, outcomes (a byte for each row) and exceptions are an
-- instruction's later life, so that its own row is written once.
CREATE TABLE batch_chunk (
    batch_id BLOB NOT NULL,
    chunk_no INTEGER NOT NULL,
    first_ordinal INTEGER NOT NULL,
    row_count INTEGER NOT NULL,
    content BLOB NOT NULL,
    root BLOB NOT NULL,
    narrations BLOB NOT NULL,
    hold_id BLOB,
    state INTEGER NOT NULL,
    outcomes BLOB NOT NULL,
    PRIMARY KEY (batch_id, chunk_no)
) STRICT;

-- Sums made at intake, so that settling works on failures only.
CREATE TABLE chunk_total (
    batch_id BLOB NOT NULL,
    chunk_no INTEGER NOT NULL,
    institution TEXT NOT NULL,
    verdict INTEGER NOT NULL,
    item_count INTEGER NOT NULL,
    amount_minor INTEGER NOT NULL,
    PRIMARY KEY (batch_id, chunk_no, institution, verdict)
) STRICT;

CREATE TABLE instruction (
    batch_id BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    source_no INTEGER NOT NULL,
    instruction_id TEXT NOT NULL,
    payee BLOB NOT NULL,
    amount_minor INTEGER NOT NULL,
    institution TEXT NOT NULL,
    verdict INTEGER NOT NULL,
    narration_no INTEGER NOT NULL,
    PRIMARY KEY (batch_id, ordinal),
    UNIQUE (source_no, instruction_id)
) STRICT;

-- Rows that did not become instructions.
CREATE TABLE instruction_refused (
    batch_id BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    instruction_id TEXT NOT NULL,
    reason_code TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (batch_id, ordinal)
) STRICT;

-- Whatever is not plain success.
CREATE TABLE instruction_exception (
    batch_id BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    state INTEGER NOT NULL,
    reason_code TEXT NOT NULL,
    institution TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    PRIMARY KEY (batch_id, ordinal)
) STRICT;

CREATE TABLE batch_approval (
    batch_id BLOB NOT NULL,
    digest BLOB NOT NULL,
    approver TEXT NOT NULL,
    approved_at INTEGER NOT NULL,
    PRIMARY KEY (batch_id, digest, approver)
) STRICT;

-- The groups of transfers that a chunk caused: ids from first to last.
CREATE TABLE chunk_group (
    batch_id BLOB NOT NULL,
    chunk_no INTEGER NOT NULL,
    first_id BLOB NOT NULL,
    last_id BLOB NOT NULL,
    PRIMARY KEY (batch_id, chunk_no, first_id)
) STRICT;

-- What the simulated rail was told; it stands for a system outside and is read by it alone.
CREATE TABLE simulated_message (
    message_id BLOB NOT NULL PRIMARY KEY,
    received_at INTEGER NOT NULL,
    query_count INTEGER NOT NULL,
    items BLOB NOT NULL
) STRICT;
