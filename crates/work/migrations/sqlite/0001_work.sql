-- Work to be done, once, later or again.
CREATE TABLE job (
    job_id BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    lane INTEGER NOT NULL,
    due INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    -- Asked for again while it ran, so it runs once more.
    again INTEGER NOT NULL,
    -- Jobs with the same order key run one after another.
    order_key TEXT,
    order_no INTEGER NOT NULL,
    payload BLOB NOT NULL,
    origin TEXT NOT NULL,
    last_error TEXT,
    created INTEGER NOT NULL,
    UNIQUE (kind, key)
) STRICT;
CREATE INDEX job_by_due ON job (kind, lane, due);
CREATE INDEX job_by_order ON job (kind, order_key, order_no) WHERE order_key IS NOT NULL;

-- Work that was given up, until somebody sends it again or drops it.
CREATE TABLE job_dead (
    job_id BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    lane INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    order_key TEXT,
    order_no INTEGER NOT NULL,
    payload BLOB NOT NULL,
    origin TEXT NOT NULL,
    last_error TEXT NOT NULL,
    created INTEGER NOT NULL,
    dead_time INTEGER NOT NULL
) STRICT;
CREATE INDEX job_dead_by_kind ON job_dead (kind, job_id);

-- Work in several steps that are undone if it cannot be finished.
CREATE TABLE saga (
    saga_id BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    step INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    data BLOB NOT NULL,
    origin TEXT NOT NULL,
    deadline INTEGER,
    last_error TEXT,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    UNIQUE (kind, key)
) STRICT;
CREATE INDEX saga_by_state ON saga (state, saga_id);

-- Steps of sagas that have ended.
CREATE TABLE saga_step (
    saga_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    name TEXT NOT NULL,
    compensation INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (saga_id, seq)
) STRICT, WITHOUT ROWID;
