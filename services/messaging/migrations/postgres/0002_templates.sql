-- Templates, suppressions and signing keys.

CREATE TABLE template_version (
    name         TEXT COLLATE "C" NOT NULL,
    version      BIGINT NOT NULL,
    author       TEXT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    content      BYTEA NOT NULL,
    PRIMARY KEY (name, version)
);

CREATE TABLE template_step (
    name         TEXT COLLATE "C" NOT NULL,
    version      BIGINT NOT NULL,
    state        BIGINT NOT NULL,
    actor        TEXT NOT NULL,
    at           TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (name, version, state)
);

CREATE TABLE suppression (
    suppression_id UUID PRIMARY KEY,
    address_hash   BYTEA NOT NULL,
    category       TEXT COLLATE "C" NOT NULL,
    reason         BIGINT NOT NULL,
    created_at     TIMESTAMPTZ NOT NULL,
    expires_at     TIMESTAMPTZ
);

CREATE INDEX suppression_address ON suppression (address_hash);

CREATE TABLE suppression_lift (
    suppression_id UUID PRIMARY KEY,
    at             TIMESTAMPTZ NOT NULL
);

CREATE TABLE signing_key (
    domain       TEXT COLLATE "C" NOT NULL,
    selector     TEXT COLLATE "C" NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    sealed       BYTEA NOT NULL,
    PRIMARY KEY (domain, selector)
);
