-- The journal: audit trail, outbox and change feed in one. Rows are only ever added.
CREATE TABLE journal (
    entry_id UUID NOT NULL PRIMARY KEY,
    time TIMESTAMPTZ NOT NULL,
    actor TEXT NOT NULL,
    on_behalf_of TEXT,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id TEXT COLLATE "C" NOT NULL,
    process_id TEXT COLLATE "C",
    request_id TEXT COLLATE "C",
    trace_id TEXT,
    body_sha256 BYTEA NOT NULL,
    -- Canonical JSON, byte for byte as it was hashed; the owner may drop those of old months.
    body BYTEA
);
CREATE INDEX journal_by_process ON journal (process_id) WHERE process_id IS NOT NULL;
CREATE INDEX journal_by_subject ON journal (subject_id);

-- Entries that have no place in the tree yet.
CREATE TABLE journal_pending (
    entry_id UUID NOT NULL PRIMARY KEY,
    leaf_hash BYTEA NOT NULL
);

-- The leaves of the tree. The primary key is what prevents a fork.
CREATE TABLE journal_leaf (
    position BIGINT NOT NULL PRIMARY KEY,
    entry_id UUID NOT NULL UNIQUE,
    leaf_hash BYTEA NOT NULL
);

-- Hashes of the tree, 256 a tile: complete tiles of leaves, and the levels above as they grow.
CREATE TABLE journal_tile (
    level BIGINT NOT NULL,
    tile BIGINT NOT NULL,
    hashes BYTEA NOT NULL,
    PRIMARY KEY (level, tile)
);

-- Spans of the log under one name and key.
CREATE TABLE journal_epoch (
    epoch BIGINT NOT NULL PRIMARY KEY,
    origin TEXT COLLATE "C" NOT NULL UNIQUE,
    first_position BIGINT NOT NULL,
    sealed_seed BYTEA NOT NULL,
    public_key BYTEA NOT NULL,
    last_known TEXT,
    time TIMESTAMPTZ NOT NULL
);

-- Signed tree heads.
CREATE TABLE journal_checkpoint (
    epoch BIGINT NOT NULL,
    size BIGINT NOT NULL,
    root BYTEA NOT NULL,
    note TEXT NOT NULL,
    time TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (epoch, size)
);

-- Answers to requests that carried an id, and intents of those still at work elsewhere.
CREATE TABLE request_ledger (
    caller TEXT COLLATE "C" NOT NULL,
    rpc TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    fingerprint BYTEA NOT NULL,
    answer BYTEA,
    attempt BIGINT NOT NULL,
    held_until TIMESTAMPTZ,
    time TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (caller, rpc, request_id)
);
CREATE INDEX request_ledger_by_time ON request_ledger (time);

-- How far each relay and consumer has come.
CREATE TABLE journal_cursor (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    position BIGINT NOT NULL,
    time TIMESTAMPTZ NOT NULL
);

-- Events of other blocks that were handled, so that a repeated delivery has no effect.
CREATE TABLE journal_inbox (
    source TEXT COLLATE "C" NOT NULL,
    entry_id UUID NOT NULL,
    time TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (source, entry_id)
);

-- Subscriptions of other systems to this journal.
CREATE TABLE webhook (
    webhook_id UUID NOT NULL PRIMARY KEY,
    url TEXT NOT NULL,
    actions TEXT NOT NULL,
    description TEXT NOT NULL,
    disabled BOOLEAN NOT NULL,
    sealed_secret BYTEA NOT NULL,
    sealed_old_secret BYTEA,
    old_secret_until TIMESTAMPTZ,
    epoch BIGINT NOT NULL,
    position BIGINT NOT NULL,
    time TIMESTAMPTZ NOT NULL
);
