-- Who may do a piece of background work, until when, and under which fence number.
CREATE TABLE lease (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    fence BIGINT NOT NULL,
    held_until TIMESTAMPTZ NOT NULL
);
