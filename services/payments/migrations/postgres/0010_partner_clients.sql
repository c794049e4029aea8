-- Which callers may speak for a partner: subjects of their tokens. Kinds: 1 source or calling
-- block, 2 biller, 3 payers' institution, 4 bank of a programme (named by the programme's id).
CREATE TABLE partner_client (
    kind BIGINT NOT NULL,
    party TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, party, client)
);
CREATE INDEX partner_client_of ON partner_client (client);
