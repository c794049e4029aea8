-- One key a subject, wrapped by a key-encryption key. Erasure empties `wrapped` and keeps the
-- row, so that an erased subject is never given a new key by accident.
CREATE TABLE subject_key (
    subject TEXT NOT NULL PRIMARY KEY,
    wrapped BLOB,
    kek_id TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    erase_time INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX subject_key_kek ON subject_key (kek_id, subject);
