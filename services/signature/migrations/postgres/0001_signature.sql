-- The authorities of this store: root, issuing, timestamping. Keys are sealed.
CREATE TABLE authority (
    role TEXT COLLATE "C" PRIMARY KEY,
    certificate BYTEA NOT NULL,
    sealed_key BYTEA NOT NULL,
    create_time TIMESTAMPTZ NOT NULL
);

-- Every certificate that was issued. kind: 1 one-time, 2 device, 3 seal.
-- state: 1 active, 2 suspended, 3 revoked; what has ended shows by its time.
CREATE TABLE certificate (
    certificate_id TEXT COLLATE "C" PRIMARY KEY,
    kind BIGINT NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    pseudonym TEXT COLLATE "C" UNIQUE,
    serial BYTEA NOT NULL UNIQUE,
    key_hash BYTEA NOT NULL UNIQUE,
    not_after TIMESTAMPTZ NOT NULL,
    state BIGINT NOT NULL,
    reason BIGINT NOT NULL,
    change_time TIMESTAMPTZ,
    create_time TIMESTAMPTZ NOT NULL,
    certificate BYTEA NOT NULL,
    scd_type TEXT COLLATE "C" NOT NULL,
    scd_key_id BIGINT NOT NULL,
    sealed_remote_id BYTEA,
    CHECK (kind BETWEEN 1 AND 3),
    CHECK (state BETWEEN 1 AND 3)
);
CREATE INDEX certificate_owner ON certificate (owner, create_time, certificate_id);
CREATE INDEX certificate_state ON certificate (state, change_time);

-- Seals of organisations.
CREATE TABLE credential (
    credential_id TEXT COLLATE "C" PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    organization TEXT COLLATE "C" NOT NULL,
    certificate_id TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES certificate (certificate_id),
    sealed_key BYTEA NOT NULL,
    create_time TIMESTAMPTZ NOT NULL
);
CREATE INDEX credential_owner ON credential (owner, create_time, credential_id);

-- Every signature that was made. Values of one-time signatures are sealed under the signer's
-- own key until they are collected; seals are kept by whoever asked for them.
CREATE TABLE signature (
    signature_id TEXT COLLATE "C" PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    kind BIGINT NOT NULL,
    format BIGINT NOT NULL,
    hash_type BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    certificate_id TEXT COLLATE "C" NOT NULL,
    sign_time TIMESTAMPTZ NOT NULL,
    sealed_value BYTEA,
    sealed_display BYTEA
);
CREATE INDEX signature_owner ON signature (kind, owner, sign_time, signature_id);
CREATE INDEX signature_time ON signature (kind, sign_time, signature_id);
