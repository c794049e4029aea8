-- How claims about a person reach a client: signed, or signed and encrypted, and to which key.
ALTER TABLE client ADD COLUMN user_info_type TEXT NOT NULL DEFAULT ''
    CHECK (user_info_type IN ('', 'JWS', 'JWE'));
ALTER TABLE client ADD COLUMN encryption_key TEXT NOT NULL DEFAULT '';
