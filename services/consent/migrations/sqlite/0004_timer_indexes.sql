-- What comes due is looked for among present answers that are a yes; all others only made these
-- longer.
DROP INDEX record_reconfirm;
CREATE INDEX record_reconfirm ON consent_record (reconfirm_from, record_id)
    WHERE reconfirm_from IS NOT NULL AND opt_in AND is_current;
DROP INDEX record_end;
CREATE INDEX record_end ON consent_record (valid_until, record_id)
    WHERE valid_until IS NOT NULL AND opt_in AND is_current;
