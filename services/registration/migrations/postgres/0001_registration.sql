-- Services and what applies to them. A published version never changes.
CREATE TABLE service (
    service_id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    kind TEXT NOT NULL,
    description TEXT NOT NULL,
    is_executable BOOLEAN NOT NULL,
    is_closed BOOLEAN NOT NULL,
    properties TEXT NOT NULL,
    definition_hash BYTEA NOT NULL
);
CREATE INDEX service_name ON service (name, service_id);

CREATE TABLE service_version (
    service_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    definition BYTEA NOT NULL,
    definition_hash BYTEA NOT NULL,
    create_time TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (service_id, version)
);

CREATE TABLE eform (
    eform_id TEXT COLLATE "C" NOT NULL,
    service_id TEXT COLLATE "C" NOT NULL,
    service_version BIGINT NOT NULL,
    position BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT NOT NULL,
    version TEXT NOT NULL,
    schema BYTEA NOT NULL,
    PRIMARY KEY (eform_id, service_id)
);
CREATE INDEX eform_service ON eform (service_id, position);

-- Application files. What the applicant wrote is sealed under the applicant's own key.
CREATE TABLE application_file (
    file_id TEXT COLLATE "C" PRIMARY KEY,
    service_id TEXT COLLATE "C" NOT NULL,
    service_name TEXT COLLATE "C" NOT NULL,
    service_version BIGINT NOT NULL,
    applicant_id TEXT COLLATE "C" NOT NULL,
    eform_id TEXT COLLATE "C" NOT NULL,
    state BIGINT NOT NULL,
    position BIGINT NOT NULL,
    main_task_id TEXT COLLATE "C" NOT NULL,
    create_time TIMESTAMPTZ,
    register_time TIMESTAMPTZ NOT NULL,
    process_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    marks TEXT NOT NULL,
    rule_trace TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    CHECK (state BETWEEN 1 AND 5)
);
CREATE INDEX application_file_service ON application_file (service_id, register_time, file_id);
CREATE INDEX application_file_applicant ON application_file (applicant_id, register_time, file_id);
CREATE INDEX application_file_time ON application_file (register_time, file_id);

-- The history of a file. Rows are added, never changed; each holds the hash of the one before.
CREATE TABLE file_event (
    file_id TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    event_time TIMESTAMPTZ NOT NULL,
    body BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (file_id, sequence)
);

CREATE TABLE task (
    task_id TEXT COLLATE "C" PRIMARY KEY,
    main_task_id TEXT COLLATE "C" NOT NULL,
    file_id TEXT COLLATE "C" NOT NULL,
    service_id TEXT COLLATE "C" NOT NULL,
    service_name TEXT COLLATE "C" NOT NULL,
    eform_id TEXT COLLATE "C" NOT NULL,
    role_id TEXT NOT NULL,
    role_name TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    assignee_id TEXT NOT NULL,
    state BIGINT NOT NULL,
    outcome BIGINT NOT NULL,
    create_time TIMESTAMPTZ NOT NULL,
    complete_time TIMESTAMPTZ,
    fingerprint BYTEA,
    sealed BYTEA
);
CREATE INDEX task_file ON task (file_id, create_time);
CREATE INDEX task_main ON task (main_task_id, create_time);
CREATE INDEX task_time ON task (create_time, task_id);
CREATE INDEX task_open ON task (create_time, task_id) WHERE state IN (1, 2);

-- One row a decision, for statistics: day counts days since 1970.
CREATE TABLE decision (
    task_id TEXT COLLATE "C" PRIMARY KEY,
    day BIGINT NOT NULL,
    service_id TEXT COLLATE "C" NOT NULL,
    service_name TEXT COLLATE "C" NOT NULL,
    role_id TEXT NOT NULL,
    operator TEXT NOT NULL,
    outcome BIGINT NOT NULL
);
CREATE INDEX decision_day ON decision (day, service_name);

CREATE TABLE document (
    document_id TEXT COLLATE "C" PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    media_type TEXT NOT NULL,
    size BIGINT NOT NULL,
    create_time TIMESTAMPTZ NOT NULL,
    sealed BYTEA NOT NULL,
    UNIQUE (owner, digest)
);

-- The register that approvals write into.
CREATE TABLE register_entry (
    register TEXT COLLATE "C" NOT NULL,
    person_id TEXT COLLATE "C" NOT NULL,
    file_id TEXT COLLATE "C" NOT NULL,
    update_time TIMESTAMPTZ NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (register, person_id)
);
