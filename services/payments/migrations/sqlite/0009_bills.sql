-- Who sends bills. The id of a bill begins with its biller's prefix.
CREATE TABLE biller (
    biller_id TEXT NOT NULL PRIMARY KEY,
    prefix TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    source_id TEXT NOT NULL,
    voucher_group TEXT NOT NULL
) STRICT;

-- Who collects what payers pay.
CREATE TABLE payer_institution (
    institution_id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    url TEXT NOT NULL
) STRICT;

-- Inquiries by the numbers of those who asked. What a bill says is sealed.
CREATE TABLE bill_inquiry (
    institution_id TEXT NOT NULL,
    source_request TEXT NOT NULL,
    correlation_id TEXT NOT NULL UNIQUE,
    bill_id TEXT NOT NULL,
    biller_id TEXT NOT NULL,
    answered INTEGER NOT NULL,
    details BLOB,
    asked_at INTEGER NOT NULL,
    PRIMARY KEY (institution_id, source_request)
) STRICT;

-- One payment a bill; who pays it first has paid it.
CREATE TABLE bill_payment (
    bill_id TEXT NOT NULL PRIMARY KEY,
    biller_id TEXT NOT NULL,
    institution_id TEXT NOT NULL,
    source_request TEXT NOT NULL,
    payment_reference TEXT NOT NULL,
    state INTEGER NOT NULL,
    reject_reason TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Requests to pay.
CREATE TABLE pay_request (
    biller_id TEXT NOT NULL,
    rtp_id INTEGER NOT NULL,
    transaction_id TEXT NOT NULL UNIQUE,
    source_request TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    bill_id TEXT NOT NULL,
    institution_id TEXT NOT NULL,
    state INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (biller_id, rtp_id)
) STRICT;
