-- When a person was erased. Such a row holds nothing but its id and its times; it keeps the id from
-- being given to somebody else, and other people's delegations whole.
ALTER TABLE individual ADD COLUMN erased INTEGER;
