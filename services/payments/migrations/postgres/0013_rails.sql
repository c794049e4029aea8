-- What was handed to the rails that pay. States of a message: 0 to be sent, 1 on its way out,
-- 2 sent. The addresses are sealed, and gone once they are not needed any more.
CREATE TABLE rail_message (
    message_id UUID NOT NULL PRIMARY KEY,
    rail TEXT COLLATE "C" NOT NULL,
    batch_id UUID NOT NULL,
    institution TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    state BIGINT NOT NULL,
    -- The file that is on its way out, while it is.
    staged TEXT COLLATE "C" NOT NULL,
    addresses BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- States: 0 new, 1 sent, 2 accepted, 3 settled, 4 rejected.
CREATE TABLE rail_item (
    end_to_end UUID NOT NULL PRIMARY KEY,
    message_id UUID NOT NULL REFERENCES rail_message (message_id),
    place BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL,
    state BIGINT NOT NULL,
    reason_code TEXT COLLATE "C" NOT NULL,
    UNIQUE (message_id, place)
);

-- Files that were taken in, by the SHA-256 of their bytes.
CREATE TABLE rail_file (
    digest BYTEA NOT NULL PRIMARY KEY,
    rail TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    file_id TEXT COLLATE "C" NOT NULL,
    taken_at TIMESTAMPTZ NOT NULL,
    UNIQUE (rail, kind, file_id)
);
