-- Sign-ins under way. Rows are found by the hash of the transaction id, which is the only
-- right to go on with one.
CREATE TABLE sign_in (
    transaction_hash BLOB    NOT NULL PRIMARY KEY,
    client_id        TEXT    NOT NULL REFERENCES client (client_id),
    request          TEXT    NOT NULL,
    state            TEXT    NOT NULL
        CHECK (state IN ('new', 'authenticated', 'code_issued', 'redeemed', 'denied')),
    person_id        BLOB    REFERENCES person (person_id),
    acr              TEXT    NOT NULL,
    auth_time        INTEGER,
    accepted_claims  TEXT    NOT NULL,
    code_hash        BLOB,
    code_expires     INTEGER,
    created          INTEGER NOT NULL,
    expires          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX sign_in_code ON sign_in (code_hash);
CREATE INDEX sign_in_expires ON sign_in (expires);

-- One-time codes that were sent, by keyed hash.
CREATE TABLE one_time_code (
    transaction_hash BLOB    NOT NULL,
    code_hash        BLOB    NOT NULL,
    person_id        BLOB    NOT NULL REFERENCES person (person_id),
    expires          INTEGER NOT NULL,
    PRIMARY KEY (transaction_hash, code_hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX one_time_code_expires ON one_time_code (expires);

-- Counters behind limits; the bucket is a keyed hash of what is limited.
CREATE TABLE limit_counter (
    bucket       BLOB    NOT NULL PRIMARY KEY,
    count        INTEGER NOT NULL,
    started      INTEGER NOT NULL,
    frozen_until INTEGER,
    expires      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX limit_counter_expires ON limit_counter (expires);

CREATE TABLE consent (
    consent_id       BLOB    NOT NULL PRIMARY KEY,
    person_id        BLOB    NOT NULL REFERENCES person (person_id),
    client_id        TEXT    NOT NULL REFERENCES client (client_id),
    accepted_claims  TEXT    NOT NULL,
    asked_claims     TEXT    NOT NULL,
    created          INTEGER NOT NULL,
    expires          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX consent_person ON consent (person_id, client_id, created);

CREATE TABLE issued_token (
    token_id         TEXT    NOT NULL PRIMARY KEY,
    client_id        TEXT    NOT NULL REFERENCES client (client_id),
    transaction_hash BLOB,
    person_id        BLOB    REFERENCES person (person_id),
    sub              TEXT    NOT NULL,
    scope            TEXT    NOT NULL,
    accepted_claims  TEXT    NOT NULL,
    claims_locales   TEXT    NOT NULL,
    issued           INTEGER NOT NULL,
    expires          INTEGER NOT NULL,
    revoked          INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX issued_token_expires ON issued_token (expires);
CREATE INDEX issued_token_transaction ON issued_token (transaction_hash);

-- Assertions that clients have used; each is good once.
CREATE TABLE used_assertion (
    client_id TEXT    NOT NULL,
    jti_hash  BLOB    NOT NULL,
    expires   INTEGER NOT NULL,
    PRIMARY KEY (client_id, jti_hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX used_assertion_expires ON used_assertion (expires);

CREATE TABLE signing_key (
    kid         TEXT    NOT NULL PRIMARY KEY,
    algorithm   TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('next', 'active', 'retired')),
    sealed      BLOB    NOT NULL,
    public_jwk  TEXT    NOT NULL,
    created     INTEGER NOT NULL,
    activated   INTEGER,
    expires     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Whoever comes second with a first or a next key finds that there is one.
CREATE UNIQUE INDEX signing_key_active ON signing_key (algorithm) WHERE state = 'active';
CREATE UNIQUE INDEX signing_key_next ON signing_key (algorithm) WHERE state = 'next';
