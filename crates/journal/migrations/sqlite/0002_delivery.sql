-- How a subscription wants its deliveries.
ALTER TABLE webhook ADD COLUMN content_type INTEGER NOT NULL DEFAULT 0;
ALTER TABLE webhook ADD COLUMN legacy_signature INTEGER NOT NULL DEFAULT FALSE;

-- What became of deliveries, good ones too; the newest of each subscription.
CREATE TABLE webhook_delivery (
    webhook_id BLOB NOT NULL,
    entry_id BLOB NOT NULL,
    delivery_id BLOB NOT NULL,
    action TEXT NOT NULL,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL,
    first_time INTEGER NOT NULL,
    last_time INTEGER NOT NULL,
    PRIMARY KEY (webhook_id, entry_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_delivery_by_time ON webhook_delivery (webhook_id, last_time, entry_id);
