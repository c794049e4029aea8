-- People. Nothing here says who they are: attributes and identifiers are sealed.
CREATE TABLE person (
    person_id         UUID NOT NULL PRIMARY KEY,
    state             TEXT NOT NULL
        CHECK (state IN ('active', 'blocked', 'deactivated', 'deceased', 'erased')),
    assurance_level   TEXT NOT NULL CHECK (assurance_level IN ('low', 'substantial', 'high')),
    registration_id   TEXT COLLATE "C" NOT NULL,
    source            TEXT NOT NULL,
    attribute_version BIGINT NOT NULL,
    block_expires     TIMESTAMPTZ,
    created           TIMESTAMPTZ NOT NULL,
    updated           TIMESTAMPTZ NOT NULL
);
CREATE INDEX person_created ON person (created, person_id);

-- Permanent numbers, virtual identifiers and aliases, found by keyed hash.
CREATE TABLE identifier (
    identifier_id UUID NOT NULL PRIMARY KEY,
    person_id     UUID NOT NULL REFERENCES person (person_id),
    kind          TEXT NOT NULL CHECK (kind IN ('uin', 'vid', 'alias')),
    alias_kind    TEXT NOT NULL,
    policy        TEXT NOT NULL
        CHECK (policy IN ('', 'perpetual', 'temporary', 'one_time_use')),
    lookup        BYTEA NOT NULL,
    sealed        BYTEA NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('active', 'used', 'revoked')),
    uses_left     BIGINT CHECK (uses_left >= 0),
    expires       TIMESTAMPTZ,
    created       TIMESTAMPTZ NOT NULL
);
-- A revoked identifier keeps its row and gives its place free.
CREATE UNIQUE INDEX identifier_lookup ON identifier (lookup) WHERE state = 'active';
CREATE INDEX identifier_person ON identifier (person_id, created, identifier_id);

-- Keyed hashes of the parts and sounds of names, for the search by name.
CREATE TABLE name_key (
    lookup    BYTEA NOT NULL,
    person_id UUID NOT NULL REFERENCES person (person_id),
    PRIMARY KEY (lookup, person_id)
);
CREATE INDEX name_key_person ON name_key (person_id);

-- Every version of what is known about a person; the newest is in force.
CREATE TABLE attribute_record (
    person_id UUID NOT NULL REFERENCES person (person_id),
    version   BIGINT NOT NULL,
    sealed    BYTEA NOT NULL,
    source    TEXT NOT NULL,
    evidence  TEXT NOT NULL,
    recorded  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (person_id, version)
);

CREATE TABLE factor (
    factor_id UUID NOT NULL PRIMARY KEY,
    person_id UUID NOT NULL REFERENCES person (person_id),
    kind      TEXT NOT NULL CHECK (kind IN ('email_code')),
    sealed    BYTEA NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('active', 'locked')),
    created   TIMESTAMPTZ NOT NULL,
    UNIQUE (person_id, kind)
);

CREATE TABLE enrolment (
    registration_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    process         TEXT NOT NULL,
    source          TEXT NOT NULL,
    ref_id          TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('received', 'registered', 'duplicate')),
    person_id       UUID REFERENCES person (person_id),
    created         TIMESTAMPTZ NOT NULL,
    updated         TIMESTAMPTZ NOT NULL
);
CREATE INDEX enrolment_created ON enrolment (created, registration_id);
CREATE INDEX enrolment_person ON enrolment (person_id);

-- The steps of an enrolment as they arrived, sealed.
CREATE TABLE packet (
    registration_id TEXT COLLATE "C" NOT NULL REFERENCES enrolment (registration_id),
    content_hash    BYTEA NOT NULL,
    process         TEXT NOT NULL,
    position        BIGINT NOT NULL,
    sealed          BYTEA NOT NULL,
    answer          TEXT NOT NULL,
    received        TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (registration_id, content_hash)
);

CREATE TABLE client (
    client_id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    client_name            TEXT NOT NULL,
    relying_party_id       TEXT COLLATE "C" NOT NULL,
    logo_uri               TEXT NOT NULL,
    redirect_uris          TEXT NOT NULL,
    acr_values             TEXT NOT NULL,
    public_key             TEXT NOT NULL,
    user_claims            TEXT NOT NULL,
    grant_types            TEXT NOT NULL,
    auth_methods           TEXT NOT NULL,
    allowed_scopes         TEXT NOT NULL,
    active                 BOOLEAN NOT NULL,
    consent_expire_minutes BIGINT NOT NULL,
    created                TIMESTAMPTZ NOT NULL,
    updated                TIMESTAMPTZ NOT NULL
);

-- The pseudonym of a person at a relying party. Derived and kept, so that no change of key
-- changes it.
CREATE TABLE pseudonym (
    person_id        UUID NOT NULL REFERENCES person (person_id),
    relying_party_id TEXT COLLATE "C" NOT NULL,
    sub              TEXT COLLATE "C" NOT NULL UNIQUE,
    PRIMARY KEY (person_id, relying_party_id)
);
