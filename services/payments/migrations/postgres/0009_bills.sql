-- Who sends bills. The id of a bill begins with its biller's prefix.
CREATE TABLE biller (
    biller_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    prefix TEXT COLLATE "C" NOT NULL UNIQUE,
    name TEXT COLLATE "C" NOT NULL,
    url TEXT COLLATE "C" NOT NULL,
    source_id TEXT COLLATE "C" NOT NULL,
    voucher_group TEXT COLLATE "C" NOT NULL
);

-- Who collects what payers pay.
CREATE TABLE payer_institution (
    institution_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    url TEXT COLLATE "C" NOT NULL
);

-- Inquiries by the numbers of those who asked. What a bill says is sealed.
CREATE TABLE bill_inquiry (
    institution_id TEXT COLLATE "C" NOT NULL,
    source_request TEXT COLLATE "C" NOT NULL,
    correlation_id TEXT COLLATE "C" NOT NULL UNIQUE,
    bill_id TEXT COLLATE "C" NOT NULL,
    biller_id TEXT COLLATE "C" NOT NULL,
    answered BIGINT NOT NULL,
    details BYTEA,
    asked_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (institution_id, source_request)
);

-- One payment a bill; who pays it first has paid it.
CREATE TABLE bill_payment (
    bill_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    biller_id TEXT COLLATE "C" NOT NULL,
    institution_id TEXT COLLATE "C" NOT NULL,
    source_request TEXT COLLATE "C" NOT NULL,
    payment_reference TEXT COLLATE "C" NOT NULL,
    state BIGINT NOT NULL,
    reject_reason TEXT COLLATE "C" NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

-- Requests to pay.
CREATE TABLE pay_request (
    biller_id TEXT COLLATE "C" NOT NULL,
    rtp_id BIGINT NOT NULL,
    transaction_id TEXT COLLATE "C" NOT NULL UNIQUE,
    source_request TEXT COLLATE "C" NOT NULL,
    fingerprint BYTEA NOT NULL,
    bill_id TEXT COLLATE "C" NOT NULL,
    institution_id TEXT COLLATE "C" NOT NULL,
    state BIGINT NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (biller_id, rtp_id)
);
