-- The journal: audit trail, outbox and change feed in one. Rows are only ever added.
CREATE TABLE journal (
    entry_id BLOB NOT NULL PRIMARY KEY,
    time INTEGER NOT NULL,
    actor TEXT NOT NULL,
    on_behalf_of TEXT,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    process_id TEXT,
    request_id TEXT,
    trace_id TEXT,
    body_sha256 BLOB NOT NULL,
    -- Canonical JSON, byte for byte as it was hashed; the owner may drop those of old months.
    body BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX journal_by_process ON journal (process_id) WHERE process_id IS NOT NULL;
CREATE INDEX journal_by_subject ON journal (subject_id);

-- Entries that have no place in the tree yet.
CREATE TABLE journal_pending (
    entry_id BLOB NOT NULL PRIMARY KEY,
    leaf_hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The leaves of the tree. The primary key is what prevents a fork.
CREATE TABLE journal_leaf (
    position INTEGER NOT NULL PRIMARY KEY,
    entry_id BLOB NOT NULL UNIQUE,
    leaf_hash BLOB NOT NULL
) STRICT;

-- Hashes of the tree, 256 a tile: complete tiles of leaves, and the levels above as they grow.
CREATE TABLE journal_tile (
    level INTEGER NOT NULL,
    tile INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (level, tile)
) STRICT, WITHOUT ROWID;

-- Spans of the log under one name and key.
CREATE TABLE journal_epoch (
    epoch INTEGER NOT NULL PRIMARY KEY,
    origin TEXT NOT NULL UNIQUE,
    first_position INTEGER NOT NULL,
    sealed_seed BLOB NOT NULL,
    public_key BLOB NOT NULL,
    last_known TEXT,
    time INTEGER NOT NULL
) STRICT;

-- Signed tree heads.
CREATE TABLE journal_checkpoint (
    epoch INTEGER NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    note TEXT NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (epoch, size)
) STRICT, WITHOUT ROWID;

-- Answers to requests that carried an id, and intents of those still at work elsewhere.
CREATE TABLE request_ledger (
    caller TEXT NOT NULL,
    rpc TEXT NOT NULL,
    request_id TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    answer BLOB,
    attempt INTEGER NOT NULL,
    held_until INTEGER,
    time INTEGER NOT NULL,
    PRIMARY KEY (caller, rpc, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX request_ledger_by_time ON request_ledger (time);

-- How far each relay and consumer has come.
CREATE TABLE journal_cursor (
    name TEXT NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL,
    position INTEGER NOT NULL,
    time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Events of other blocks that were handled, so that a repeated delivery has no effect.
CREATE TABLE journal_inbox (
    source TEXT NOT NULL,
    entry_id BLOB NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (source, entry_id)
) STRICT, WITHOUT ROWID;

-- Subscriptions of other systems to this journal.
CREATE TABLE webhook (
    webhook_id BLOB NOT NULL PRIMARY KEY,
    url TEXT NOT NULL,
    actions TEXT NOT NULL,
    description TEXT NOT NULL,
    disabled INTEGER NOT NULL,
    sealed_secret BLOB NOT NULL,
    sealed_old_secret BLOB,
    old_secret_until INTEGER,
    epoch INTEGER NOT NULL,
    position INTEGER NOT NULL,
    time INTEGER NOT NULL
) STRICT;
