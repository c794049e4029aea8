-- The key of one record's snapshots and signatures, wrapped by the key of its person. Erasing the
-- record empties it, so that what a copy of other tables still holds stays closed. Records that are
-- older than this table have none; theirs are sealed by the person's key.
CREATE TABLE record_key (
    record_id TEXT COLLATE "C" PRIMARY KEY,
    wrapped BYTEA,
    created TIMESTAMPTZ NOT NULL,
    erased TIMESTAMPTZ
);
