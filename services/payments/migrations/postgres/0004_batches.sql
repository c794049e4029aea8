CREATE TABLE batch (
    batch_id UUID NOT NULL PRIMARY KEY,
    source_no BIGINT NOT NULL REFERENCES source_block (source_no),
    source_request TEXT COLLATE "C" NOT NULL,
    source_batch TEXT COLLATE "C" NOT NULL,
    programme_id UUID NOT NULL REFERENCES programme (programme_id),
    currency TEXT COLLATE "C" NOT NULL,
    fingerprint BYTEA NOT NULL,
    state BIGINT NOT NULL,
    state_reason TEXT COLLATE "C" NOT NULL,
    maker TEXT COLLATE "C" NOT NULL,
    process_id TEXT COLLATE "C",
    expected_count BIGINT NOT NULL,
    chunk_rows BIGINT NOT NULL,
    received_count BIGINT NOT NULL,
    refused_count BIGINT NOT NULL,
    accepted_count BIGINT NOT NULL,
    accepted_minor BIGINT NOT NULL,
    unresolved_count BIGINT NOT NULL,
    unresolved_minor BIGINT NOT NULL,
    root BYTEA,
    digest BYTEA,
    reconciliation TEXT COLLATE "C",
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    UNIQUE (source_no, source_request)
);
CREATE INDEX batch_order ON batch (created_at, batch_id);

-- Rows in groups of a fixed size. State, outcomes (a byte for each row) and exceptions are an
-- instruction's later life, so that its own row is written once.
CREATE TABLE batch_chunk (
    batch_id UUID NOT NULL,
    chunk_no BIGINT NOT NULL,
    first_ordinal BIGINT NOT NULL,
    row_count BIGINT NOT NULL,
    content BYTEA NOT NULL,
    root BYTEA NOT NULL,
    narrations BYTEA NOT NULL,
    hold_id UUID,
    state BIGINT NOT NULL,
    outcomes BYTEA NOT NULL,
    PRIMARY KEY (batch_id, chunk_no)
);

-- Sums made at intake, so that settling works on failures only.
CREATE TABLE chunk_total (
    batch_id UUID NOT NULL,
    chunk_no BIGINT NOT NULL,
    institution TEXT COLLATE "C" NOT NULL,
    verdict BIGINT NOT NULL,
    item_count BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL,
    PRIMARY KEY (batch_id, chunk_no, institution, verdict)
);

CREATE TABLE instruction (
    batch_id UUID NOT NULL,
    ordinal BIGINT NOT NULL,
    source_no BIGINT NOT NULL,
    instruction_id TEXT COLLATE "C" NOT NULL,
    payee BYTEA NOT NULL,
    amount_minor BIGINT NOT NULL,
    institution TEXT COLLATE "C" NOT NULL,
    verdict BIGINT NOT NULL,
    narration_no BIGINT NOT NULL,
    PRIMARY KEY (batch_id, ordinal),
    UNIQUE (source_no, instruction_id)
);

-- Rows that did not become instructions.
CREATE TABLE instruction_refused (
    batch_id UUID NOT NULL,
    ordinal BIGINT NOT NULL,
    instruction_id TEXT COLLATE "C" NOT NULL,
    reason_code TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (batch_id, ordinal)
);

-- Whatever is not plain success.
CREATE TABLE instruction_exception (
    batch_id UUID NOT NULL,
    ordinal BIGINT NOT NULL,
    state BIGINT NOT NULL,
    reason_code TEXT COLLATE "C" NOT NULL,
    institution TEXT COLLATE "C" NOT NULL,
    amount_minor BIGINT NOT NULL,
    PRIMARY KEY (batch_id, ordinal)
);

CREATE TABLE batch_approval (
    batch_id UUID NOT NULL,
    digest BYTEA NOT NULL,
    approver TEXT COLLATE "C" NOT NULL,
    approved_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (batch_id, digest, approver)
);

-- The groups of transfers that a chunk caused: ids from first to last.
CREATE TABLE chunk_group (
    batch_id UUID NOT NULL,
    chunk_no BIGINT NOT NULL,
    first_id UUID NOT NULL,
    last_id UUID NOT NULL,
    PRIMARY KEY (batch_id, chunk_no, first_id)
);

-- What the simulated rail was told; it stands for a system outside and is read by it alone.
CREATE TABLE simulated_message (
    message_id UUID NOT NULL PRIMARY KEY,
    received_at TIMESTAMPTZ NOT NULL,
    query_count BIGINT NOT NULL,
    items BYTEA NOT NULL
);
