-- Messages whose effect is committed, one row a consumer and message.
CREATE TABLE campana_inbox (
    scope TEXT NOT NULL,
    message_id TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (scope, message_id)
);
CREATE INDEX campana_inbox_seen ON campana_inbox (seen_at);

-- Messages that wait for the relay. `ordering` is a hash of the ordering key, 0 for none.
CREATE TABLE campana_outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    lane BIGINT NOT NULL,
    ordering BIGINT NOT NULL,
    message_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    headers TEXT NOT NULL,
    payload BLOB NOT NULL,
    size BIGINT NOT NULL,
    added_at BIGINT NOT NULL,
    failures BIGINT NOT NULL DEFAULT 0,
    due_at BIGINT NOT NULL DEFAULT 0,
    set_aside_at BIGINT NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT ''
);
CREATE INDEX campana_outbox_lane ON campana_outbox (lane, id) WHERE set_aside_at = 0;
CREATE INDEX campana_outbox_order ON campana_outbox (ordering, id) WHERE set_aside_at = 0 AND ordering <> 0;
CREATE INDEX campana_outbox_aside ON campana_outbox (id) WHERE set_aside_at <> 0;

-- Who publishes a lane, until when, and up to which row it may have been published already.
CREATE TABLE campana_outbox_lanes (
    lane BIGINT PRIMARY KEY,
    owner TEXT NOT NULL DEFAULT '',
    until BIGINT NOT NULL DEFAULT 0,
    tried BIGINT NOT NULL DEFAULT 0
);
INSERT INTO campana_outbox_lanes (lane)
VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15);

-- External calls: what is known about each. `fence` counts the holders.
CREATE TABLE campana_ledger (
    scope TEXT NOT NULL,
    call_key TEXT NOT NULL,
    state TEXT NOT NULL,
    fence BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,
    result BLOB NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (scope, call_key)
);
CREATE INDEX campana_ledger_changed ON campana_ledger (changed_at);
