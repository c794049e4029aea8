-- The bank that holds a programme's funds.
CREATE TABLE payer_bank (
    programme_id UUID NOT NULL PRIMARY KEY REFERENCES programme (programme_id),
    url TEXT COLLATE "C" NOT NULL,
    payer_identifier TEXT COLLATE "C" NOT NULL
);

-- What banks were asked, about a batch (kind 1) or a validation (kind 2), and their answers.
CREATE TABLE bank_request (
    correlation_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind BIGINT NOT NULL,
    subject_id UUID NOT NULL,
    answered BOOLEAN NOT NULL,
    accepted BOOLEAN NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    asked_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX bank_request_subject ON bank_request (subject_id, kind);

-- Whom to tell of a validation once its bank has answered, sealed.
ALTER TABLE validation ADD COLUMN target BYTEA;
