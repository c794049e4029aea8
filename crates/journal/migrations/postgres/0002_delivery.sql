-- How a subscription wants its deliveries.
ALTER TABLE webhook ADD COLUMN content_type BIGINT NOT NULL DEFAULT 0;
ALTER TABLE webhook ADD COLUMN legacy_signature BOOLEAN NOT NULL DEFAULT FALSE;

-- What became of deliveries, good ones too; the newest of each subscription.
CREATE TABLE webhook_delivery (
    webhook_id UUID NOT NULL,
    entry_id UUID NOT NULL,
    delivery_id UUID NOT NULL,
    action TEXT NOT NULL,
    state BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    reason TEXT NOT NULL,
    first_time TIMESTAMPTZ NOT NULL,
    last_time TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (webhook_id, entry_id)
);
CREATE INDEX webhook_delivery_by_time ON webhook_delivery (webhook_id, last_time, entry_id);
