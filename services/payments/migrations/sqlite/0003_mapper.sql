-- Who is paid where. The key is a keyed hash of the functional id; id and address are sealed
-- under the beneficiary's own key.
CREATE TABLE beneficiary (
    source_no INTEGER NOT NULL,
    payee BLOB NOT NULL,
    modality TEXT NOT NULL,
    institution TEXT NOT NULL,
    active INTEGER NOT NULL,
    version INTEGER NOT NULL,
    functional_id BLOB NOT NULL,
    address BLOB NOT NULL,
    registered_by TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (source_no, payee)
) STRICT;

-- Earlier mappings; never overwritten.
CREATE TABLE beneficiary_history (
    source_no INTEGER NOT NULL,
    payee BLOB NOT NULL,
    version INTEGER NOT NULL,
    modality TEXT NOT NULL,
    institution TEXT NOT NULL,
    active INTEGER NOT NULL,
    address BLOB NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (source_no, payee, version)
) STRICT;

-- Validations ahead of payment.
CREATE TABLE validation (
    validation_id BLOB NOT NULL PRIMARY KEY,
    source_no INTEGER NOT NULL,
    source_request TEXT NOT NULL,
    source_batch TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    done INTEGER NOT NULL,
    instruction_count INTEGER NOT NULL,
    failed_count INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (source_no, source_request)
) STRICT;
CREATE INDEX validation_pair ON validation (source_request, source_batch);

CREATE TABLE validation_failure (
    validation_id BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    instruction_id TEXT NOT NULL,
    reason_code TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (validation_id, ordinal)
) STRICT;
