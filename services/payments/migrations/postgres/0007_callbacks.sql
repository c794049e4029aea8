-- Who is told how a batch comes along, and how far they were told. The target is sealed.
CREATE TABLE batch_callback (
    batch_id UUID NOT NULL PRIMARY KEY,
    target BYTEA NOT NULL,
    phase BIGINT NOT NULL
);

-- Vouchers that were issued to payees, by the instruction that asked for them.
CREATE TABLE voucher_issuance (
    calling_block TEXT COLLATE "C" NOT NULL,
    instruction_id TEXT COLLATE "C" NOT NULL,
    source_request TEXT COLLATE "C" NOT NULL,
    serial TEXT COLLATE "C" NOT NULL REFERENCES voucher (serial),
    payee BYTEA NOT NULL,
    PRIMARY KEY (calling_block, instruction_id)
);

-- Agents stand for merchants.
ALTER TABLE merchant ADD COLUMN agent_id TEXT COLLATE "C";
CREATE UNIQUE INDEX merchant_agent ON merchant (agent_id) WHERE agent_id IS NOT NULL;
