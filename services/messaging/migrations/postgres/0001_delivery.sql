-- Requests, chunks of recipients and the log of their delivery. Nothing here is updated, and
-- rows are deleted from content_key alone.

CREATE TABLE request (
    request_id   UUID PRIMARY KEY,
    request_uid  TEXT COLLATE "C" NOT NULL UNIQUE,
    n            BIGINT NOT NULL CHECK (n >= 0),
    lane         BIGINT NOT NULL,
    claimed      BOOLEAN NOT NULL,
    received_at  TIMESTAMPTZ NOT NULL,
    not_before   TIMESTAMPTZ NOT NULL,
    expires_at   TIMESTAMPTZ NOT NULL,
    actor        TEXT NOT NULL,
    process_id   TEXT,
    mhash        BYTEA NOT NULL,
    callback     BYTEA,
    common       BYTEA
);

CREATE INDEX request_mhash ON request (mhash);

CREATE TABLE chunk (
    chunk_id     UUID PRIMARY KEY,
    request_id   UUID NOT NULL,
    root_id      UUID NOT NULL,
    lane         BIGINT NOT NULL,
    attempt      BIGINT NOT NULL,
    not_before   TIMESTAMPTZ NOT NULL,
    n            BIGINT NOT NULL,
    sealed       BYTEA NOT NULL
);

CREATE INDEX chunk_request ON chunk (request_id, attempt, chunk_id);

-- A key stands as long as what it seals may still be read: a chunk's until its last recipient
-- has an outcome, a request's until its last chunk is closed.
CREATE TABLE content_key (
    key_id       UUID PRIMARY KEY,
    lane         BIGINT NOT NULL,
    not_before   TIMESTAMPTZ NOT NULL,
    hour         BIGINT NOT NULL,
    wrapped      BYTEA NOT NULL
);

CREATE INDEX content_key_due ON content_key (lane, not_before, key_id);
CREATE INDEX content_key_hour ON content_key (hour);

CREATE TABLE wrapping_hour (
    hour         BIGINT PRIMARY KEY
);

CREATE TABLE session (
    session_id   UUID PRIMARY KEY,
    started_at   TIMESTAMPTZ NOT NULL
);

CREATE TABLE beat (
    session_id   UUID NOT NULL,
    step         BIGINT NOT NULL,
    at           TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (session_id, step)
);

CREATE INDEX beat_at ON beat (session_id, at);

CREATE TABLE chunk_step (
    chunk_id     UUID NOT NULL,
    step         BIGINT NOT NULL,
    session_id   UUID NOT NULL,
    kind         BIGINT NOT NULL,
    at           TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (chunk_id, step)
);

CREATE TABLE event (
    chunk_id     UUID NOT NULL,
    pos          BIGINT NOT NULL,
    attempt      BIGINT NOT NULL,
    seq          BIGINT NOT NULL,
    state        BIGINT NOT NULL,
    code         BIGINT NOT NULL,
    reason       TEXT NOT NULL,
    at           TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (chunk_id, pos, attempt, seq)
);

-- Changes of a request's counters by one session, cumulative, so that only the highest step
-- of each session counts.
CREATE TABLE tally (
    request_id   UUID NOT NULL,
    session_id   UUID NOT NULL,
    step         BIGINT NOT NULL,
    scheduled    BIGINT NOT NULL,
    processing   BIGINT NOT NULL,
    deferred     BIGINT NOT NULL,
    bounced      BIGINT NOT NULL,
    not_sent     BIGINT NOT NULL,
    delivered    BIGINT NOT NULL,
    PRIMARY KEY (request_id, session_id, step),
    CHECK (scheduled + processing + deferred + bounced + not_sent + delivered = 0)
);

CREATE INDEX tally_first ON tally (request_id, session_id) WHERE step = 0;

CREATE TABLE cancellation (
    request_id   UUID PRIMARY KEY,
    at           TIMESTAMPTZ NOT NULL
);

CREATE TABLE completion (
    request_id   UUID PRIMARY KEY,
    at           TIMESTAMPTZ NOT NULL
);

CREATE TABLE reply (
    reply_id     UUID PRIMARY KEY,
    request_id   UUID NOT NULL,
    received_at  TIMESTAMPTZ NOT NULL,
    sealed       BYTEA NOT NULL
);

CREATE INDEX reply_request ON reply (request_id);
