-- The bank that holds a programme's funds.
CREATE TABLE payer_bank (
    programme_id BLOB NOT NULL PRIMARY KEY REFERENCES programme (programme_id),
    url TEXT NOT NULL,
    payer_identifier TEXT NOT NULL
) STRICT;

-- What banks were asked, about a batch (kind 1) or a validation (kind 2), and their answers.
CREATE TABLE bank_request (
    correlation_id TEXT NOT NULL PRIMARY KEY,
    kind INTEGER NOT NULL,
    subject_id BLOB NOT NULL,
    answered INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    reason TEXT NOT NULL,
    asked_at INTEGER NOT NULL
) STRICT;
CREATE INDEX bank_request_subject ON bank_request (subject_id, kind);

-- Whom to tell of a validation once its bank has answered, sealed.
ALTER TABLE validation ADD COLUMN target BLOB;
