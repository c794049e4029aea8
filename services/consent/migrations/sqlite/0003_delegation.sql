-- Who may act for whom. What proves it and what it is limited to is sealed under the key of the
-- person acted for.
CREATE TABLE delegation (
    delegation_id TEXT PRIMARY KEY,
    individual_id TEXT NOT NULL REFERENCES individual (individual_id),
    delegate_id TEXT NOT NULL REFERENCES individual (individual_id),
    relationship INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    valid_from INTEGER NOT NULL,
    valid_until INTEGER,
    revoked INTEGER,
    void INTEGER NOT NULL,
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX delegation_individual ON delegation (individual_id, created);
CREATE INDEX delegation_delegate ON delegation (delegate_id, created);

-- The delegation by which the present answer was given; empty when the person gave it.
ALTER TABLE consent_record ADD COLUMN delegation_id TEXT NOT NULL DEFAULT '';
-- From when on the person is to confirm what a delegate answered.
ALTER TABLE consent_record ADD COLUMN reconfirm_from INTEGER;
-- The delegate's authority turned out never to have held.
ALTER TABLE consent_record ADD COLUMN delegation_void INTEGER NOT NULL DEFAULT FALSE;
CREATE INDEX record_delegation ON consent_record (delegation_id) WHERE delegation_id <> '';
CREATE INDEX record_reconfirm ON consent_record (reconfirm_from, record_id)
    WHERE reconfirm_from IS NOT NULL;

-- How far the passing of time has been told of: up to which moment, and which record at it.
CREATE TABLE timer (
    name TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    record_id TEXT NOT NULL
) STRICT;
CREATE INDEX record_end ON consent_record (valid_until, record_id) WHERE valid_until IS NOT NULL;
