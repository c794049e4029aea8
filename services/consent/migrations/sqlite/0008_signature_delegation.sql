-- By which delegation a signature was made that an answer needs: it falls with that delegation,
-- whoever signed first.
ALTER TABLE signature ADD COLUMN delegation_id TEXT NOT NULL DEFAULT '';
CREATE INDEX signature_delegation ON signature (delegation_id) WHERE delegation_id <> '';
