CREATE TABLE load_account (
    account_id BIGINT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    balance BIGINT NOT NULL
) WITH (fillfactor = 80);

CREATE TABLE load_transfer (
    transfer_id UUID NOT NULL PRIMARY KEY,
    account_id BIGINT NOT NULL,
    amount BIGINT NOT NULL
);
