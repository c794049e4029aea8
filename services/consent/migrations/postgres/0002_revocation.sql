-- What makes earlier decisions worthless. Numbers of a shard follow its commits, because the
-- shard's row is locked until then: who has read up to a number has missed nothing before it.
CREATE TABLE revocation_shard (
    shard BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL
);
INSERT INTO revocation_shard (shard, seq) VALUES
    (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0),
    (8, 0), (9, 0), (10, 0), (11, 0), (12, 0), (13, 0), (14, 0), (15, 0);

CREATE TABLE revocation (
    shard BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    -- Empty for everybody.
    individual_id TEXT COLLATE "C" NOT NULL,
    -- Empty for all agreements.
    agreement_id TEXT COLLATE "C" NOT NULL,
    record_id TEXT COLLATE "C" NOT NULL,
    cause BIGINT NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (shard, seq)
);
