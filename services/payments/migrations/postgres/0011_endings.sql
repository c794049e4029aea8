-- The voucher that paid a bill and its transfer, so that a refusal gives both back.
ALTER TABLE bill_payment ADD COLUMN voucher_serial TEXT COLLATE "C";
ALTER TABLE bill_payment ADD COLUMN transfer_id UUID;

-- Why a payer will not pay, sealed: it is free text of somebody else.
ALTER TABLE pay_request ADD COLUMN refusal BYTEA NOT NULL DEFAULT ''::bytea;

-- So is what banks say. Silent: the bank did not answer in time. Items: what it was asked about.
ALTER TABLE bank_request DROP COLUMN reason;
ALTER TABLE bank_request ADD COLUMN reason BYTEA NOT NULL DEFAULT ''::bytea;
ALTER TABLE bank_request ADD COLUMN silent BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE bank_request ADD COLUMN items BYTEA NOT NULL DEFAULT ''::bytea;
ALTER TABLE validation_failure ADD COLUMN sealed BYTEA NOT NULL DEFAULT ''::bytea;
