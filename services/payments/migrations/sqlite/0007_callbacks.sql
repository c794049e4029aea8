-- Who is told how a batch comes along, and how far they were told. The target is sealed.
CREATE TABLE batch_callback (
    batch_id BLOB NOT NULL PRIMARY KEY,
    target BLOB NOT NULL,
    phase INTEGER NOT NULL
) STRICT;

-- Vouchers that were issued to payees, by the instruction that asked for them.
CREATE TABLE voucher_issuance (
    calling_block TEXT NOT NULL,
    instruction_id TEXT NOT NULL,
    source_request TEXT NOT NULL,
    serial TEXT NOT NULL REFERENCES voucher (serial),
    payee BLOB NOT NULL,
    PRIMARY KEY (calling_block, instruction_id)
) STRICT;

-- Agents stand for merchants.
ALTER TABLE merchant ADD COLUMN agent_id TEXT;
CREATE UNIQUE INDEX merchant_agent ON merchant (agent_id) WHERE agent_id IS NOT NULL;
