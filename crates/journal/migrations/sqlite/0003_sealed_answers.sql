-- Answers are sealed from here on. Those that were kept in clear are dropped: their requests stay
-- known, so that a repeat has no second effect, but is told that the answer is gone.
ALTER TABLE request_ledger ADD COLUMN sealed_answer BLOB;
UPDATE request_ledger SET answer = NULL WHERE answer IS NOT NULL;
