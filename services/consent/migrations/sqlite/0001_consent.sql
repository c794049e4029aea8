-- Keys of the block itself, sealed.
CREATE TABLE block_key (
    name TEXT PRIMARY KEY,
    sealed BLOB NOT NULL,
    created INTEGER NOT NULL
) STRICT;

-- Locked snapshots of all objects. Of a person's objects the snapshot is sealed under the
-- person's key and set to NULL on erasure; hashes and links stay.
CREATE TABLE revision (
    revision_id TEXT PRIMARY KEY,
    kind INTEGER NOT NULL,
    object_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    predecessor_id TEXT NOT NULL,
    predecessor_sha1 TEXT NOT NULL,
    predecessor_sha256 TEXT NOT NULL,
    predecessor_signature TEXT NOT NULL,
    sha1 TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    snapshot BLOB,
    subject TEXT,
    body BLOB,
    by_individual TEXT NOT NULL,
    by_other TEXT NOT NULL,
    without_id INTEGER NOT NULL,
    seal TEXT NOT NULL,
    created INTEGER NOT NULL,
    erased INTEGER,
    -- One successor for each revision, and one first one: the history cannot fork.
    CONSTRAINT revision_linear UNIQUE (kind, object_id, predecessor_id),
    CONSTRAINT revision_place UNIQUE (kind, object_id, seq)
) STRICT;
CREATE INDEX revision_time ON revision (created, revision_id);
CREATE INDEX revision_after ON revision (predecessor_id);

CREATE TABLE policy (
    policy_id TEXT PRIMARY KEY,
    body BLOB NOT NULL,
    revision_id TEXT NOT NULL,
    deleted INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT;
CREATE INDEX policy_time ON policy (created, policy_id);

CREATE TABLE agreement (
    agreement_id TEXT PRIMARY KEY,
    body BLOB NOT NULL,
    lifecycle INTEGER NOT NULL,
    active INTEGER NOT NULL,
    forgettable INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    purpose_code TEXT NOT NULL,
    policy_id TEXT NOT NULL,
    lawful_basis INTEGER NOT NULL,
    author TEXT NOT NULL,
    revision_id TEXT NOT NULL,
    approved_revision_id TEXT NOT NULL,
    approved_by TEXT NOT NULL,
    -- The published text; empty for a draft. Purpose and code follow it, since checks look
    -- agreements up by them.
    published_revision_id TEXT NOT NULL,
    published_purpose TEXT NOT NULL,
    published_purpose_code TEXT NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT;
CREATE INDEX agreement_time ON agreement (created, agreement_id);
CREATE INDEX agreement_purpose ON agreement (published_purpose);
CREATE INDEX agreement_purpose_code ON agreement (published_purpose_code);
CREATE INDEX agreement_policy ON agreement (policy_id);

-- People. The external identity is sealed; it is found by keyed hashes.
CREATE TABLE individual (
    individual_id TEXT PRIMARY KEY,
    identity_hash BLOB,
    external_hash BLOB,
    sealed BLOB,
    notify INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    CONSTRAINT individual_identity UNIQUE (identity_hash)
) STRICT;
CREATE INDEX individual_time ON individual (created, individual_id);
CREATE INDEX individual_external ON individual (external_hash);

CREATE TABLE individual_key (
    individual_id TEXT NOT NULL REFERENCES individual (individual_id),
    key_id TEXT NOT NULL,
    jwk TEXT NOT NULL,
    created INTEGER NOT NULL,
    revoked INTEGER,
    PRIMARY KEY (individual_id, key_id)
) STRICT;

CREATE TABLE consent_record (
    record_id TEXT PRIMARY KEY,
    individual_id TEXT NOT NULL,
    agreement_id TEXT NOT NULL,
    agreement_revision_id TEXT NOT NULL,
    agreement_revision_hash TEXT NOT NULL,
    opt_in INTEGER,
    ever_given INTEGER NOT NULL,
    state INTEGER NOT NULL,
    is_current INTEGER NOT NULL,
    valid_from INTEGER NOT NULL,
    valid_until INTEGER,
    -- Choices and circumstances of the answer, sealed; NULL when there are none.
    sealed BLOB,
    revision_id TEXT NOT NULL,
    revision_sha256 TEXT NOT NULL,
    signature_id TEXT NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    CONSTRAINT record_once UNIQUE (agreement_revision_id, individual_id)
) STRICT;
CREATE UNIQUE INDEX record_current ON consent_record (individual_id, agreement_id)
    WHERE is_current;
CREATE INDEX record_individual ON consent_record (individual_id, created, record_id);
CREATE INDEX record_agreement ON consent_record (agreement_id, created, record_id);
CREATE INDEX record_time ON consent_record (created, record_id);

CREATE TABLE signature (
    signature_id TEXT PRIMARY KEY,
    record_id TEXT NOT NULL,
    revision_id TEXT NOT NULL,
    signed_as TEXT NOT NULL,
    method TEXT NOT NULL,
    key_id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created INTEGER NOT NULL,
    CONSTRAINT signature_role UNIQUE (revision_id, signed_as)
) STRICT;
CREATE INDEX signature_record ON signature (record_id);

-- Uses a day of answers whose agreement limits them.
CREATE TABLE record_use (
    record_id TEXT NOT NULL,
    day INTEGER NOT NULL,
    uses INTEGER NOT NULL,
    PRIMARY KEY (record_id, day)
) STRICT;
