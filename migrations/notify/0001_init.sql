-- The notification platform's tables. One dialect for SQLite and PostgreSQL: TEXT ids, BIGINT microseconds
-- since the Unix epoch (UTC), JSON as TEXT, 0/1 for booleans.

CREATE TABLE recipients (
    tenant         TEXT   NOT NULL,
    id             TEXT   NOT NULL,
    email          TEXT,
    phone          TEXT,
    whatsapp       TEXT,
    webhook_url    TEXT,
    webhook_secret TEXT,
    locale         TEXT,
    preferences    TEXT   NOT NULL,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE templates (
    tenant     TEXT   NOT NULL,
    template_key TEXT NOT NULL,
    channels   TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, template_key)
);

-- A key's secret is never stored, only its SHA-256.
CREATE TABLE api_keys (
    id         TEXT   NOT NULL PRIMARY KEY,
    tenant     TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    role       TEXT   NOT NULL,
    hash       TEXT   NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant, created_at);

-- Written by the recorder only. `stage` is how much is known: 0 nothing but an attempt, 1 scheduled,
-- 2 rejected, 3 planned; it never falls.
CREATE TABLE notifications (
    tenant       TEXT   NOT NULL,
    id           TEXT   NOT NULL,
    stage        BIGINT NOT NULL,
    status       TEXT   NOT NULL,
    reason       TEXT,
    priority     TEXT   NOT NULL,
    template     TEXT,
    metadata     TEXT   NOT NULL,
    trace_id     TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    scheduled_at BIGINT,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX notifications_by_time ON notifications (tenant, created_at, id);

-- Written by the recorder only. `progress` is generation * 100 + rank of the status; -1 before any status.
-- Recipient and channel are unknown while an attempt has been seen before its plan.
CREATE TABLE deliveries (
    tenant          TEXT   NOT NULL,
    id              TEXT   NOT NULL,
    notification_id TEXT   NOT NULL,
    recipient       TEXT,
    channel         TEXT,
    status          TEXT   NOT NULL,
    progress        BIGINT NOT NULL,
    reason          TEXT,
    read_at         BIGINT,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX deliveries_by_notification ON deliveries (tenant, notification_id);
CREATE INDEX deliveries_by_recipient ON deliveries (tenant, recipient, notification_id);

-- The timeline: one row per outcome, written by the recorder only, never changed.
CREATE TABLE outcomes (
    tenant              TEXT   NOT NULL,
    id                  TEXT   NOT NULL,
    notification_id     TEXT   NOT NULL,
    delivery_id         TEXT,
    at                  BIGINT NOT NULL,
    event               TEXT   NOT NULL,
    status              TEXT,
    reason              TEXT,
    detail              TEXT,
    attempt             BIGINT,
    generation          BIGINT,
    provider            TEXT,
    provider_message_id TEXT,
    duration_ms         BIGINT,
    retry_at            BIGINT,
    possible_duplicate  BIGINT,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX outcomes_by_notification ON outcomes (tenant, notification_id, at);
