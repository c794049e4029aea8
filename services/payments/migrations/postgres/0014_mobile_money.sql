-- The rail's own id of a payment, where it told one.
ALTER TABLE rail_item ADD COLUMN reference TEXT COLLATE "C" NOT NULL DEFAULT '';
