-- The mapping that an instruction was resolved to when it came in.
ALTER TABLE instruction ADD COLUMN mapping_version INTEGER NOT NULL DEFAULT 0;

-- A keyed hash over what the intent to send a chunk was recorded for.
ALTER TABLE batch_chunk ADD COLUMN intent BLOB;

-- Instructions whose mapping changed before their intent: what is sent is this version's address.
CREATE TABLE instruction_resolved (
    batch_id BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    mapping_version INTEGER NOT NULL,
    PRIMARY KEY (batch_id, ordinal)
) STRICT;
