-- Who is paid where. The key is a keyed hash of the functional id; id and address are sealed
-- under the beneficiary's own key.
CREATE TABLE beneficiary (
    source_no BIGINT NOT NULL,
    payee BYTEA NOT NULL,
    modality TEXT COLLATE "C" NOT NULL,
    institution TEXT COLLATE "C" NOT NULL,
    active BOOLEAN NOT NULL,
    version BIGINT NOT NULL,
    functional_id BYTEA NOT NULL,
    address BYTEA NOT NULL,
    registered_by TEXT COLLATE "C" NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (source_no, payee)
);

-- Earlier mappings; never overwritten.
CREATE TABLE beneficiary_history (
    source_no BIGINT NOT NULL,
    payee BYTEA NOT NULL,
    version BIGINT NOT NULL,
    modality TEXT COLLATE "C" NOT NULL,
    institution TEXT COLLATE "C" NOT NULL,
    active BOOLEAN NOT NULL,
    address BYTEA NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (source_no, payee, version)
);

-- Validations ahead of payment.
CREATE TABLE validation (
    validation_id UUID NOT NULL PRIMARY KEY,
    source_no BIGINT NOT NULL,
    source_request TEXT COLLATE "C" NOT NULL,
    source_batch TEXT COLLATE "C" NOT NULL,
    fingerprint BYTEA NOT NULL,
    done BOOLEAN NOT NULL,
    instruction_count BIGINT NOT NULL,
    failed_count BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    UNIQUE (source_no, source_request)
);
CREATE INDEX validation_pair ON validation (source_request, source_batch);

CREATE TABLE validation_failure (
    validation_id UUID NOT NULL,
    ordinal BIGINT NOT NULL,
    instruction_id TEXT COLLATE "C" NOT NULL,
    reason_code TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (validation_id, ordinal)
);
