CREATE TABLE load_account (
    account_id INTEGER NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    balance INTEGER NOT NULL
) STRICT;

CREATE TABLE load_transfer (
    transfer_id BLOB NOT NULL PRIMARY KEY,
    account_id INTEGER NOT NULL,
    amount INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
