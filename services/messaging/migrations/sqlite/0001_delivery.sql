-- Requests, chunks of recipients and the log of their delivery. Nothing here is updated, and
-- rows are deleted from content_key alone.

CREATE TABLE request (
    request_id   BLOB PRIMARY KEY,
    request_uid  TEXT NOT NULL UNIQUE,
    n            INTEGER NOT NULL CHECK (n >= 0),
    lane         INTEGER NOT NULL,
    claimed      INTEGER NOT NULL,
    received_at  INTEGER NOT NULL,
    not_before   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    actor        TEXT NOT NULL,
    process_id   TEXT,
    mhash        BLOB NOT NULL,
    callback     BLOB,
    common       BLOB
) STRICT;

CREATE INDEX request_mhash ON request (mhash);

CREATE TABLE chunk (
    chunk_id     BLOB PRIMARY KEY,
    request_id   BLOB NOT NULL,
    root_id      BLOB NOT NULL,
    lane         INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    not_before   INTEGER NOT NULL,
    n            INTEGER NOT NULL,
    sealed       BLOB NOT NULL
) STRICT;

CREATE INDEX chunk_request ON chunk (request_id, attempt, chunk_id);

-- A key stands as long as what it seals may still be read: a chunk's until its last recipient
-- has an outcome, a request's until its last chunk is closed.
CREATE TABLE content_key (
    key_id       BLOB PRIMARY KEY,
    lane         INTEGER NOT NULL,
    not_before   INTEGER NOT NULL,
    hour         INTEGER NOT NULL,
    wrapped      BLOB NOT NULL
) STRICT;

CREATE INDEX content_key_due ON content_key (lane, not_before, key_id);
CREATE INDEX content_key_hour ON content_key (hour);

CREATE TABLE wrapping_hour (
    hour         INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE session (
    session_id   BLOB PRIMARY KEY,
    started_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE beat (
    session_id   BLOB NOT NULL,
    step         INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (session_id, step)
) STRICT, WITHOUT ROWID;

CREATE INDEX beat_at ON beat (session_id, at);

CREATE TABLE chunk_step (
    chunk_id     BLOB NOT NULL,
    step         INTEGER NOT NULL,
    session_id   BLOB NOT NULL,
    kind         INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (chunk_id, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    chunk_id     BLOB NOT NULL,
    pos          INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    code         INTEGER NOT NULL,
    reason       TEXT NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (chunk_id, pos, attempt, seq)
) STRICT, WITHOUT ROWID;

-- Changes of a request's counters by one session, cumulative, so that only the highest step
-- of each session counts.
CREATE TABLE tally (
    request_id   BLOB NOT NULL,
    session_id   BLOB NOT NULL,
    step         INTEGER NOT NULL,
    scheduled    INTEGER NOT NULL,
    processing   INTEGER NOT NULL,
    deferred     INTEGER NOT NULL,
    bounced      INTEGER NOT NULL,
    not_sent     INTEGER NOT NULL,
    delivered    INTEGER NOT NULL,
    PRIMARY KEY (request_id, session_id, step),
    CHECK (scheduled + processing + deferred + bounced + not_sent + delivered = 0)
) STRICT, WITHOUT ROWID;

CREATE INDEX tally_first ON tally (request_id, session_id) WHERE step = 0;

CREATE TABLE cancellation (
    request_id   BLOB PRIMARY KEY,
    at           INTEGER NOT NULL
) STRICT;

CREATE TABLE completion (
    request_id   BLOB PRIMARY KEY,
    at           INTEGER NOT NULL
) STRICT;

CREATE TABLE reply (
    reply_id     BLOB PRIMARY KEY,
    request_id   BLOB NOT NULL,
    received_at  INTEGER NOT NULL,
    sealed       BLOB NOT NULL
) STRICT;

CREATE INDEX reply_request ON reply (request_id);
