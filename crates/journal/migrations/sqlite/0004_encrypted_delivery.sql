-- The public key that deliveries of a subscription are encrypted to, as a JWK; empty for none.
ALTER TABLE webhook ADD COLUMN encryption_jwk TEXT NOT NULL DEFAULT '';
