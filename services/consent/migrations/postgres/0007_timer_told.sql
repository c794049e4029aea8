-- What was told of lately, so that a moment which is stored only after its time has come is told of
-- once. What is older than the overlap of looks is removed.
CREATE TABLE timer_told (
    name TEXT COLLATE "C" NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    record_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (name, at, record_id)
);
-- What was told of until now.
INSERT INTO timer_told (name, at, record_id)
    SELECT t.name, r.valid_until, r.record_id FROM timer t
    JOIN consent_record r ON r.valid_until > t.at - INTERVAL '15 minutes' AND r.valid_until <= t.at
    WHERE t.name <> 'reconfirmation' AND r.opt_in AND r.is_current;
INSERT INTO timer_told (name, at, record_id)
    SELECT t.name, r.reconfirm_from, r.record_id FROM timer t
    JOIN consent_record r
    ON r.reconfirm_from > t.at - INTERVAL '15 minutes' AND r.reconfirm_from <= t.at
    WHERE t.name = 'reconfirmation' AND r.opt_in AND r.is_current;
