CREATE TABLE note (
    note_id INTEGER NOT NULL PRIMARY KEY CONSTRAINT note_id_natural CHECK (note_id >= 0),
    body TEXT NOT NULL
) STRICT;

CREATE TABLE total (
    total_id INTEGER NOT NULL PRIMARY KEY,
    amount INTEGER NOT NULL
) STRICT;

CREATE TABLE page (
    note_id INTEGER NOT NULL REFERENCES note (note_id)
) STRICT;

CREATE TABLE sample (
    sample_id BLOB NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    until INTEGER,
    text TEXT,
    bytes BLOB,
    flag INTEGER NOT NULL,
    big INTEGER NOT NULL
) STRICT;
