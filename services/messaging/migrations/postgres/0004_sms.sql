-- Short messages: the parts that a centre took, messages that wait for receipts, and receipts.

CREATE TABLE sms_part (
    root_id      UUID NOT NULL,
    pos          BIGINT NOT NULL,
    attempt      BIGINT NOT NULL,
    part         BIGINT NOT NULL,
    parts        BIGINT NOT NULL,
    request_id   UUID NOT NULL,
    centre       TEXT COLLATE "C" NOT NULL,
    centre_id    TEXT COLLATE "C" NOT NULL,
    at           TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (root_id, pos, attempt, part)
);

CREATE INDEX sms_part_centre ON sms_part (centre, centre_id);

-- A message waits as long as its attempt has no later event.
CREATE TABLE sms_wait (
    root_id      UUID NOT NULL,
    pos          BIGINT NOT NULL,
    attempt      BIGINT NOT NULL,
    request_id   UUID NOT NULL,
    until        TIMESTAMPTZ NOT NULL,
    process_id   TEXT COLLATE "C",
    PRIMARY KEY (root_id, pos, attempt)
);

CREATE INDEX sms_wait_until ON sms_wait (until);

CREATE TABLE sms_receipt (
    receipt_id   UUID PRIMARY KEY,
    centre       TEXT COLLATE "C" NOT NULL,
    centre_id    TEXT COLLATE "C" NOT NULL,
    fate         BIGINT NOT NULL,
    code         BIGINT NOT NULL,
    at           TIMESTAMPTZ NOT NULL
);

CREATE INDEX sms_receipt_centre ON sms_receipt (centre, centre_id);
