-- One key a subject, wrapped by a key-encryption key. Erasure empties `wrapped` and keeps the
-- row, so that an erased subject is never given a new key by accident.
CREATE TABLE subject_key (
    subject TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    wrapped BYTEA,
    kek_id TEXT COLLATE "C" NOT NULL,
    create_time TIMESTAMPTZ NOT NULL,
    erase_time TIMESTAMPTZ
);
CREATE INDEX subject_key_kek ON subject_key (kek_id, subject);
