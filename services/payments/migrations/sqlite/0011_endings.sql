-- The voucher that paid a bill and its transfer, so that a refusal gives both back.
ALTER TABLE bill_payment ADD COLUMN voucher_serial TEXT;
ALTER TABLE bill_payment ADD COLUMN transfer_id BLOB;

-- Why a payer will not pay, sealed: it is free text of somebody else.
ALTER TABLE pay_request ADD COLUMN refusal BLOB NOT NULL DEFAULT x'';

-- So is what banks say. Silent: the bank did not answer in time. Items: what it was asked about.
ALTER TABLE bank_request DROP COLUMN reason;
ALTER TABLE bank_request ADD COLUMN reason BLOB NOT NULL DEFAULT x'';
ALTER TABLE bank_request ADD COLUMN silent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bank_request ADD COLUMN items BLOB NOT NULL DEFAULT x'';
ALTER TABLE validation_failure ADD COLUMN sealed BLOB NOT NULL DEFAULT x'';
