-- Services and what applies to them. A published version never changes.
CREATE TABLE service (
    service_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    kind TEXT NOT NULL,
    description TEXT NOT NULL,
    is_executable INTEGER NOT NULL,
    is_closed INTEGER NOT NULL,
    properties TEXT NOT NULL,
    definition_hash BLOB NOT NULL
) STRICT;
CREATE INDEX service_name ON service (name, service_id);

CREATE TABLE service_version (
    service_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    definition BLOB NOT NULL,
    definition_hash BLOB NOT NULL,
    create_time INTEGER NOT NULL,
    PRIMARY KEY (service_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE eform (
    eform_id TEXT NOT NULL,
    service_id TEXT NOT NULL,
    service_version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    version TEXT NOT NULL,
    schema BLOB NOT NULL,
    PRIMARY KEY (eform_id, service_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX eform_service ON eform (service_id, position);

-- Application files. What the applicant wrote is sealed under the applicant's own key.
CREATE TABLE application_file (
    file_id TEXT PRIMARY KEY,
    service_id TEXT NOT NULL,
    service_name TEXT NOT NULL,
    service_version INTEGER NOT NULL,
    applicant_id TEXT NOT NULL,
    eform_id TEXT NOT NULL,
    state INTEGER NOT NULL,
    position INTEGER NOT NULL,
    main_task_id TEXT NOT NULL,
    create_time INTEGER,
    register_time INTEGER NOT NULL,
    process_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    marks TEXT NOT NULL,
    rule_trace TEXT NOT NULL,
    sealed BLOB NOT NULL,
    CHECK (state BETWEEN 1 AND 5)
) STRICT;
CREATE INDEX application_file_service ON application_file (service_id, register_time, file_id);
CREATE INDEX application_file_applicant ON application_file (applicant_id, register_time, file_id);
CREATE INDEX application_file_time ON application_file (register_time, file_id);

-- The history of a file. Rows are added, never changed; each holds the hash of the one before.
CREATE TABLE file_event (
    file_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    event_time INTEGER NOT NULL,
    body BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (file_id, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE task (
    task_id TEXT PRIMARY KEY,
    main_task_id TEXT NOT NULL,
    file_id TEXT NOT NULL,
    service_id TEXT NOT NULL,
    service_name TEXT NOT NULL,
    eform_id TEXT NOT NULL,
    role_id TEXT NOT NULL,
    role_name TEXT NOT NULL,
    position INTEGER NOT NULL,
    assignee_id TEXT NOT NULL,
    state INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    complete_time INTEGER,
    fingerprint BLOB,
    sealed BLOB
) STRICT;
CREATE INDEX task_file ON task (file_id, create_time);
CREATE INDEX task_main ON task (main_task_id, create_time);
CREATE INDEX task_time ON task (create_time, task_id);
CREATE INDEX task_open ON task (create_time, task_id) WHERE state IN (1, 2);

-- One row a decision, for statistics: day counts days since 1970.
CREATE TABLE decision (
    task_id TEXT PRIMARY KEY,
    day INTEGER NOT NULL,
    service_id TEXT NOT NULL,
    service_name TEXT NOT NULL,
    role_id TEXT NOT NULL,
    operator TEXT NOT NULL,
    outcome INTEGER NOT NULL
) STRICT;
CREATE INDEX decision_day ON decision (day, service_name);

CREATE TABLE document (
    document_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    digest BLOB NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    UNIQUE (owner, digest)
) STRICT;

-- The register that approvals write into.
CREATE TABLE register_entry (
    register TEXT NOT NULL,
    person_id TEXT NOT NULL,
    file_id TEXT NOT NULL,
    update_time INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (register, person_id)
) STRICT, WITHOUT ROWID;
