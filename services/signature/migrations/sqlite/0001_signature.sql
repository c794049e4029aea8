-- The authorities of this store: root, issuing, timestamping. Keys are sealed.
CREATE TABLE authority (
    role TEXT PRIMARY KEY,
    certificate BLOB NOT NULL,
    sealed_key BLOB NOT NULL,
    create_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every certificate that was issued. kind: 1 one-time, 2 device, 3 seal.
-- state: 1 active, 2 suspended, 3 revoked; what has ended shows by its time.
CREATE TABLE certificate (
    certificate_id TEXT PRIMARY KEY,
    kind INTEGER NOT NULL,
    owner TEXT NOT NULL,
    pseudonym TEXT UNIQUE,
    serial BLOB NOT NULL UNIQUE,
    key_hash BLOB NOT NULL UNIQUE,
    not_after INTEGER NOT NULL,
    state INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    change_time INTEGER,
    create_time INTEGER NOT NULL,
    certificate BLOB NOT NULL,
    scd_type TEXT NOT NULL,
    scd_key_id INTEGER NOT NULL,
    sealed_remote_id BLOB,
    CHECK (kind BETWEEN 1 AND 3),
    CHECK (state BETWEEN 1 AND 3)
) STRICT;
CREATE INDEX certificate_owner ON certificate (owner, create_time, certificate_id);
CREATE INDEX certificate_state ON certificate (state, change_time);

-- Seals of organisations.
CREATE TABLE credential (
    credential_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    organization TEXT NOT NULL,
    certificate_id TEXT NOT NULL UNIQUE REFERENCES certificate (certificate_id),
    sealed_key BLOB NOT NULL,
    create_time INTEGER NOT NULL
) STRICT;
CREATE INDEX credential_owner ON credential (owner, create_time, credential_id);

-- Every signature that was made. Values of one-time signatures are sealed under the signer's
-- own key until they are collected; seals are kept by whoever asked for them.
CREATE TABLE signature (
    signature_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    kind INTEGER NOT NULL,
    format INTEGER NOT NULL,
    hash_type INTEGER NOT NULL,
    hash BLOB NOT NULL,
    certificate_id TEXT NOT NULL,
    sign_time INTEGER NOT NULL,
    sealed_value BLOB,
    sealed_display BLOB
) STRICT;
CREATE INDEX signature_owner ON signature (kind, owner, sign_time, signature_id);
CREATE INDEX signature_time ON signature (kind, sign_time, signature_id);
