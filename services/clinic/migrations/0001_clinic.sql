-- Clinics, people, sessions, appointments. One portable dialect for SQLite and PostgreSQL: TEXT ids, times as BIGINT
-- microseconds since the epoch (UTC), 0 and '' where there is nothing.

CREATE TABLE clinics (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    address      TEXT NOT NULL,
    time_zone    TEXT NOT NULL,   -- a name of the IANA database; every local time of the clinic is in it
    opens        BIGINT NOT NULL, -- minutes after midnight
    closes       BIGINT NOT NULL,
    slot_minutes BIGINT NOT NULL,
    weekdays     BIGINT NOT NULL  -- bit 0 is Monday
);

CREATE TABLE accounts (
    id             TEXT PRIMARY KEY,
    role           TEXT NOT NULL,   -- patient or dentist
    clinic_id      TEXT NOT NULL,   -- of a dentist; '' for patients
    email          TEXT NOT NULL UNIQUE,
    name           TEXT NOT NULL,
    password_hash  TEXT NOT NULL,   -- argon2id in PHC form; '' cannot sign in by password
    language       TEXT NOT NULL,   -- es or en
    phone          TEXT NOT NULL,
    wants_email    BIGINT NOT NULL,
    wants_sms      BIGINT NOT NULL,
    wants_whatsapp BIGINT NOT NULL,
    version        BIGINT NOT NULL,
    created_at     BIGINT NOT NULL
);
CREATE INDEX accounts_by_clinic ON accounts (clinic_id, name);

CREATE TABLE sessions (
    secret_hash  TEXT PRIMARY KEY,  -- SHA-256 of what the cookie holds
    id           TEXT NOT NULL UNIQUE,
    account_id   TEXT NOT NULL REFERENCES accounts (id),
    device       TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX sessions_by_account ON sessions (account_id);

CREATE TABLE appointments (
    id          TEXT PRIMARY KEY,
    clinic_id   TEXT NOT NULL REFERENCES clinics (id),
    dentist_id  TEXT NOT NULL REFERENCES accounts (id),
    patient_id  TEXT NOT NULL REFERENCES accounts (id),
    request_id  TEXT NOT NULL,    -- chosen by the page, so that a form sent twice books once
    status      TEXT NOT NULL,
    confirmed   BIGINT NOT NULL,  -- 1: both sides agreed to starts_at
    starts_at   BIGINT NOT NULL,
    proposed_at BIGINT NOT NULL,  -- another time that the dentist proposes; 0 for none
    note        TEXT NOT NULL,    -- of the patient
    message     TEXT NOT NULL,    -- of the dentist
    version     BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    UNIQUE (patient_id, request_id)
);
CREATE INDEX appointments_of_patient ON appointments (patient_id, starts_at, id);
CREATE INDEX appointments_of_dentist ON appointments (dentist_id, starts_at, id);

-- Who holds which time. This is what makes double booking impossible: not the code that looks before it inserts, but
-- two keys that no two rows can share. An open appointment holds its time, and the proposed one beside it.
CREATE TABLE held_times (
    dentist_id     TEXT NOT NULL,
    starts_at      BIGINT NOT NULL,
    patient_id     TEXT NOT NULL,
    appointment_id TEXT NOT NULL,
    PRIMARY KEY (dentist_id, starts_at),
    UNIQUE (patient_id, starts_at)
);
CREATE INDEX held_times_of_appointment ON held_times (appointment_id);
