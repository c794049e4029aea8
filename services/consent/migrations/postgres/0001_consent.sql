-- Keys of the block itself, sealed.
CREATE TABLE block_key (
    name TEXT COLLATE "C" PRIMARY KEY,
    sealed BYTEA NOT NULL,
    created TIMESTAMPTZ NOT NULL
);

-- Locked snapshots of all objects. Of a person's objects the snapshot is sealed under the
-- person's key and set to NULL on erasure; hashes and links stay.
CREATE TABLE revision (
    revision_id TEXT COLLATE "C" PRIMARY KEY,
    kind BIGINT NOT NULL,
    object_id TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    predecessor_id TEXT COLLATE "C" NOT NULL,
    predecessor_sha1 TEXT NOT NULL,
    predecessor_sha256 TEXT NOT NULL,
    predecessor_signature TEXT NOT NULL,
    sha1 TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    snapshot BYTEA,
    subject TEXT COLLATE "C",
    body BYTEA,
    by_individual TEXT COLLATE "C" NOT NULL,
    by_other TEXT NOT NULL,
    without_id BOOLEAN NOT NULL,
    seal TEXT NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    erased TIMESTAMPTZ,
    -- One successor for each revision, and one first one: the history cannot fork.
    CONSTRAINT revision_linear UNIQUE (kind, object_id, predecessor_id),
    CONSTRAINT revision_place UNIQUE (kind, object_id, seq)
);
CREATE INDEX revision_time ON revision (created, revision_id);
CREATE INDEX revision_after ON revision (predecessor_id);

CREATE TABLE policy (
    policy_id TEXT COLLATE "C" PRIMARY KEY,
    body BYTEA NOT NULL,
    revision_id TEXT COLLATE "C" NOT NULL,
    deleted BOOLEAN NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    updated TIMESTAMPTZ NOT NULL
);
CREATE INDEX policy_time ON policy (created, policy_id);

CREATE TABLE agreement (
    agreement_id TEXT COLLATE "C" PRIMARY KEY,
    body BYTEA NOT NULL,
    lifecycle BIGINT NOT NULL,
    active BOOLEAN NOT NULL,
    forgettable BOOLEAN NOT NULL,
    purpose TEXT COLLATE "C" NOT NULL,
    purpose_code TEXT COLLATE "C" NOT NULL,
    policy_id TEXT COLLATE "C" NOT NULL,
    lawful_basis BIGINT NOT NULL,
    author TEXT NOT NULL,
    revision_id TEXT COLLATE "C" NOT NULL,
    approved_revision_id TEXT COLLATE "C" NOT NULL,
    approved_by TEXT NOT NULL,
    -- The published text; empty for a draft. Purpose and code follow it, since checks look
    -- agreements up by them.
    published_revision_id TEXT COLLATE "C" NOT NULL,
    published_purpose TEXT COLLATE "C" NOT NULL,
    published_purpose_code TEXT COLLATE "C" NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    updated TIMESTAMPTZ NOT NULL
);
CREATE INDEX agreement_time ON agreement (created, agreement_id);
CREATE INDEX agreement_purpose ON agreement (published_purpose);
CREATE INDEX agreement_purpose_code ON agreement (published_purpose_code);
CREATE INDEX agreement_policy ON agreement (policy_id);

-- People. The external identity is sealed; it is found by keyed hashes.
CREATE TABLE individual (
    individual_id TEXT COLLATE "C" PRIMARY KEY,
    identity_hash BYTEA,
    external_hash BYTEA,
    sealed BYTEA,
    notify BOOLEAN NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    updated TIMESTAMPTZ NOT NULL,
    CONSTRAINT individual_identity UNIQUE (identity_hash)
);
CREATE INDEX individual_time ON individual (created, individual_id);
CREATE INDEX individual_external ON individual (external_hash);

CREATE TABLE individual_key (
    individual_id TEXT COLLATE "C" NOT NULL REFERENCES individual (individual_id),
    key_id TEXT COLLATE "C" NOT NULL,
    jwk TEXT NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    revoked TIMESTAMPTZ,
    PRIMARY KEY (individual_id, key_id)
);

CREATE TABLE consent_record (
    record_id TEXT COLLATE "C" PRIMARY KEY,
    individual_id TEXT COLLATE "C" NOT NULL,
    agreement_id TEXT COLLATE "C" NOT NULL,
    agreement_revision_id TEXT COLLATE "C" NOT NULL,
    agreement_revision_hash TEXT NOT NULL,
    opt_in BOOLEAN,
    ever_given BOOLEAN NOT NULL,
    state BIGINT NOT NULL,
    is_current BOOLEAN NOT NULL,
    valid_from TIMESTAMPTZ NOT NULL,
    valid_until TIMESTAMPTZ,
    -- Choices and circumstances of the answer, sealed; NULL when there are none.
    sealed BYTEA,
    revision_id TEXT COLLATE "C" NOT NULL,
    revision_sha256 TEXT NOT NULL,
    signature_id TEXT COLLATE "C" NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    updated TIMESTAMPTZ NOT NULL,
    CONSTRAINT record_once UNIQUE (agreement_revision_id, individual_id)
);
CREATE UNIQUE INDEX record_current ON consent_record (individual_id, agreement_id)
    WHERE is_current;
CREATE INDEX record_individual ON consent_record (individual_id, created, record_id);
CREATE INDEX record_agreement ON consent_record (agreement_id, created, record_id);
CREATE INDEX record_time ON consent_record (created, record_id);

CREATE TABLE signature (
    signature_id TEXT COLLATE "C" PRIMARY KEY,
    record_id TEXT COLLATE "C" NOT NULL,
    revision_id TEXT COLLATE "C" NOT NULL,
    signed_as TEXT COLLATE "C" NOT NULL,
    method TEXT NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    sealed BYTEA NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    CONSTRAINT signature_role UNIQUE (revision_id, signed_as)
);
CREATE INDEX signature_record ON signature (record_id);

-- Uses a day of answers whose agreement limits them.
CREATE TABLE record_use (
    record_id TEXT COLLATE "C" NOT NULL,
    day BIGINT NOT NULL,
    uses BIGINT NOT NULL,
    PRIMARY KEY (record_id, day)
);
