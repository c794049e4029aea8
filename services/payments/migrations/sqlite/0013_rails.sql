-- What was handed to the rails that pay. States of a message: 0 to be sent, 1 on its way out,
-- 2 sent. The addresses are sealed, and gone once they are not needed any more.
CREATE TABLE rail_message (
    message_id BLOB NOT NULL PRIMARY KEY,
    rail TEXT NOT NULL,
    batch_id BLOB NOT NULL,
    institution TEXT NOT NULL,
    currency TEXT NOT NULL,
    state INTEGER NOT NULL,
    -- The file that is on its way out, while it is.
    staged TEXT NOT NULL,
    addresses BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- States: 0 new, 1 sent, 2 accepted, 3 settled, 4 rejected.
CREATE TABLE rail_item (
    end_to_end BLOB NOT NULL PRIMARY KEY,
    message_id BLOB NOT NULL REFERENCES rail_message (message_id),
    place INTEGER NOT NULL,
    amount_minor INTEGER NOT NULL,
    state INTEGER NOT NULL,
    reason_code TEXT NOT NULL,
    UNIQUE (message_id, place)
) STRICT;

-- Files that were taken in, by the SHA-256 of their bytes.
CREATE TABLE rail_file (
    digest BLOB NOT NULL PRIMARY KEY,
    rail TEXT NOT NULL,
    kind TEXT NOT NULL,
    file_id TEXT NOT NULL,
    taken_at INTEGER NOT NULL,
    UNIQUE (rail, kind, file_id)
) STRICT;
