-- Work to be done, once, later or again.
CREATE TABLE job (
    job_id UUID NOT NULL PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    lane BIGINT NOT NULL,
    due TIMESTAMPTZ NOT NULL,
    lease_until TIMESTAMPTZ NOT NULL,
    fence BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    -- Asked for again while it ran, so it runs once more.
    again BOOLEAN NOT NULL,
    -- Jobs with the same order key run one after another.
    order_key TEXT COLLATE "C",
    order_no BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    origin TEXT COLLATE "C" NOT NULL,
    last_error TEXT,
    created TIMESTAMPTZ NOT NULL,
    UNIQUE (kind, key)
);
CREATE INDEX job_by_due ON job (kind, lane, due);
CREATE INDEX job_by_order ON job (kind, order_key, order_no) WHERE order_key IS NOT NULL;

-- Work that was given up, until somebody sends it again or drops it.
CREATE TABLE job_dead (
    job_id UUID NOT NULL PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    lane BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    order_key TEXT COLLATE "C",
    order_no BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    origin TEXT COLLATE "C" NOT NULL,
    last_error TEXT NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    dead_time TIMESTAMPTZ NOT NULL
);
CREATE INDEX job_dead_by_kind ON job_dead (kind, job_id);

-- Work in several steps that are undone if it cannot be finished.
CREATE TABLE saga (
    saga_id UUID NOT NULL PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    step BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    data BYTEA NOT NULL,
    origin TEXT COLLATE "C" NOT NULL,
    deadline TIMESTAMPTZ,
    last_error TEXT,
    created TIMESTAMPTZ NOT NULL,
    updated TIMESTAMPTZ NOT NULL,
    UNIQUE (kind, key)
);
CREATE INDEX saga_by_state ON saga (state, saga_id);

-- Steps of sagas that have ended.
CREATE TABLE saga_step (
    saga_id UUID NOT NULL,
    seq BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    compensation BOOLEAN NOT NULL,
    attempts BIGINT NOT NULL,
    time TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (saga_id, seq)
);
