-- People. Nothing here says who they are: attributes and identifiers are sealed.
CREATE TABLE person (
    person_id         BLOB    NOT NULL PRIMARY KEY,
    state             TEXT    NOT NULL
        CHECK (state IN ('active', 'blocked', 'deactivated', 'deceased', 'erased')),
    assurance_level   TEXT    NOT NULL CHECK (assurance_level IN ('low', 'substantial', 'high')),
    registration_id   TEXT    NOT NULL,
    source            TEXT    NOT NULL,
    attribute_version INTEGER NOT NULL,
    block_expires     INTEGER,
    created           INTEGER NOT NULL,
    updated           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX person_created ON person (created, person_id);

-- Permanent numbers, virtual identifiers and aliases, found by keyed hash.
CREATE TABLE identifier (
    identifier_id BLOB    NOT NULL PRIMARY KEY,
    person_id     BLOB    NOT NULL REFERENCES person (person_id),
    kind          TEXT    NOT NULL CHECK (kind IN ('uin', 'vid', 'alias')),
    alias_kind    TEXT    NOT NULL,
    policy        TEXT    NOT NULL
        CHECK (policy IN ('', 'perpetual', 'temporary', 'one_time_use')),
    lookup        BLOB    NOT NULL,
    sealed        BLOB    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('active', 'used', 'revoked')),
    uses_left     INTEGER CHECK (uses_left >= 0),
    expires       INTEGER,
    created       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- A revoked identifier keeps its row and gives its place free.
CREATE UNIQUE INDEX identifier_lookup ON identifier (lookup) WHERE state = 'active';
CREATE INDEX identifier_person ON identifier (person_id, created, identifier_id);

-- Keyed hashes of the parts and sounds of names, for the search by name.
CREATE TABLE name_key (
    lookup    BLOB NOT NULL,
    person_id BLOB NOT NULL REFERENCES person (person_id),
    PRIMARY KEY (lookup, person_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX name_key_person ON name_key (person_id);

-- Every version of what is known about a person; the newest is in force.
CREATE TABLE attribute_record (
    person_id BLOB    NOT NULL REFERENCES person (person_id),
    version   INTEGER NOT NULL,
    sealed    BLOB    NOT NULL,
    source    TEXT    NOT NULL,
    evidence  TEXT    NOT NULL,
    recorded  INTEGER NOT NULL,
    PRIMARY KEY (person_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE factor (
    factor_id BLOB    NOT NULL PRIMARY KEY,
    person_id BLOB    NOT NULL REFERENCES person (person_id),
    kind      TEXT    NOT NULL CHECK (kind IN ('email_code')),
    sealed    BLOB    NOT NULL,
    state     TEXT    NOT NULL CHECK (state IN ('active', 'locked')),
    created   INTEGER NOT NULL,
    UNIQUE (person_id, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE enrolment (
    registration_id TEXT    NOT NULL PRIMARY KEY,
    process         TEXT    NOT NULL,
    source          TEXT    NOT NULL,
    ref_id          TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('received', 'registered', 'duplicate')),
    person_id       BLOB    REFERENCES person (person_id),
    created         INTEGER NOT NULL,
    updated         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX enrolment_created ON enrolment (created, registration_id);
CREATE INDEX enrolment_person ON enrolment (person_id);

-- The steps of an enrolment as they arrived, sealed.
CREATE TABLE packet (
    registration_id TEXT    NOT NULL REFERENCES enrolment (registration_id),
    content_hash    BLOB    NOT NULL,
    process         TEXT    NOT NULL,
    position        INTEGER NOT NULL,
    sealed          BLOB    NOT NULL,
    answer          TEXT    NOT NULL,
    received        INTEGER NOT NULL,
    PRIMARY KEY (registration_id, content_hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE client (
    client_id              TEXT    NOT NULL PRIMARY KEY,
    client_name            TEXT    NOT NULL,
    relying_party_id       TEXT    NOT NULL,
    logo_uri               TEXT    NOT NULL,
    redirect_uris          TEXT    NOT NULL,
    acr_values             TEXT    NOT NULL,
    public_key             TEXT    NOT NULL,
    user_claims            TEXT    NOT NULL,
    grant_types            TEXT    NOT NULL,
    auth_methods           TEXT    NOT NULL,
    allowed_scopes         TEXT    NOT NULL,
    active                 INTEGER NOT NULL,
    consent_expire_minutes INTEGER NOT NULL,
    created                INTEGER NOT NULL,
    updated                INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The pseudonym of a person at a relying party. Derived and kept, so that no change of key
-- changes it.
CREATE TABLE pseudonym (
    person_id        BLOB NOT NULL REFERENCES person (person_id),
    relying_party_id TEXT NOT NULL,
    sub              TEXT NOT NULL UNIQUE,
    PRIMARY KEY (person_id, relying_party_id)
) STRICT, WITHOUT ROWID;
