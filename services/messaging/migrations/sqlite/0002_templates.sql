-- Templates, suppressions and signing keys.

CREATE TABLE template_version (
    name         TEXT NOT NULL,
    version      INTEGER NOT NULL,
    author       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    content      BLOB NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;

CREATE TABLE template_step (
    name         TEXT NOT NULL,
    version      INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    actor        TEXT NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (name, version, state)
) STRICT;

CREATE TABLE suppression (
    suppression_id BLOB PRIMARY KEY,
    address_hash   BLOB NOT NULL,
    category       TEXT NOT NULL,
    reason         INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER
) STRICT;

CREATE INDEX suppression_address ON suppression (address_hash);

CREATE TABLE suppression_lift (
    suppression_id BLOB PRIMARY KEY,
    at             INTEGER NOT NULL
) STRICT;

CREATE TABLE signing_key (
    domain       TEXT NOT NULL,
    selector     TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    sealed       BLOB NOT NULL,
    PRIMARY KEY (domain, selector)
) STRICT;
