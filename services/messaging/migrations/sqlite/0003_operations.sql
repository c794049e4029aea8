-- What operators do about requests: hold them up, and send again what failed.

CREATE TABLE pause_step (
    request_id   BLOB NOT NULL,
    step         INTEGER NOT NULL,
    paused       INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (request_id, step)
) STRICT, WITHOUT ROWID;

-- Recipients that failed for a reason which may pass, of one chunk and reason. They can be read
-- as long as the key stands, in a lane where no one looks for work.
CREATE TABLE dead_letter (
    letter_id    BLOB PRIMARY KEY,
    request_id   BLOB NOT NULL,
    root_id      BLOB NOT NULL,
    lane         INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    reason       TEXT NOT NULL,
    n            INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    sealed       BLOB NOT NULL
) STRICT;

CREATE INDEX dead_letter_request ON dead_letter (request_id, reason, letter_id);

CREATE TABLE redrive (
    letter_id    BLOB PRIMARY KEY,
    chunk_id     BLOB NOT NULL,
    at           INTEGER NOT NULL
) STRICT;
