-- Short messages: the parts that a centre took, messages that wait for receipts, and receipts.

CREATE TABLE sms_part (
    root_id      BLOB NOT NULL,
    pos          INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    part         INTEGER NOT NULL,
    parts        INTEGER NOT NULL,
    request_id   BLOB NOT NULL,
    centre       TEXT NOT NULL,
    centre_id    TEXT NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (root_id, pos, attempt, part)
) STRICT, WITHOUT ROWID;

CREATE INDEX sms_part_centre ON sms_part (centre, centre_id);

-- A message waits as long as its attempt has no later event.
CREATE TABLE sms_wait (
    root_id      BLOB NOT NULL,
    pos          INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    request_id   BLOB NOT NULL,
    until        INTEGER NOT NULL,
    process_id   TEXT,
    PRIMARY KEY (root_id, pos, attempt)
) STRICT, WITHOUT ROWID;

CREATE INDEX sms_wait_until ON sms_wait (until);

CREATE TABLE sms_receipt (
    receipt_id   BLOB PRIMARY KEY,
    centre       TEXT NOT NULL,
    centre_id    TEXT NOT NULL,
    fate         INTEGER NOT NULL,
    code         INTEGER NOT NULL,
    at           INTEGER NOT NULL
) STRICT;

CREATE INDEX sms_receipt_centre ON sms_receipt (centre, centre_id);
