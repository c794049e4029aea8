CREATE TABLE note (
    note_id BIGINT NOT NULL PRIMARY KEY CONSTRAINT note_id_natural CHECK (note_id >= 0),
    body TEXT NOT NULL
);

CREATE TABLE total (
    total_id BIGINT NOT NULL PRIMARY KEY,
    amount BIGINT NOT NULL
);

CREATE TABLE page (
    note_id BIGINT NOT NULL CONSTRAINT page_note REFERENCES note (note_id)
);

CREATE TABLE sample (
    sample_id UUID NOT NULL PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL,
    until TIMESTAMPTZ,
    text TEXT,
    bytes BYTEA,
    flag BOOLEAN NOT NULL,
    big BIGINT NOT NULL
);
