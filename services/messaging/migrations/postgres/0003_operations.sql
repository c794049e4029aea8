-- What operators do about requests: hold them up, and send again what failed.

CREATE TABLE pause_step (
    request_id   UUID NOT NULL,
    step         BIGINT NOT NULL,
    paused       BOOLEAN NOT NULL,
    at           TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (request_id, step)
);

-- Recipients that failed for a reason which may pass, of one chunk and reason. They can be read
-- as long as the key stands, in a lane where no one looks for work.
CREATE TABLE dead_letter (
    letter_id    UUID PRIMARY KEY,
    request_id   UUID NOT NULL,
    root_id      UUID NOT NULL,
    lane         BIGINT NOT NULL,
    attempt      BIGINT NOT NULL,
    state        BIGINT NOT NULL,
    reason       TEXT COLLATE "C" NOT NULL,
    n            BIGINT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    sealed       BYTEA NOT NULL
);

CREATE INDEX dead_letter_request ON dead_letter (request_id, reason, letter_id);

CREATE TABLE redrive (
    letter_id    UUID PRIMARY KEY,
    chunk_id     UUID NOT NULL,
    at           TIMESTAMPTZ NOT NULL
);
