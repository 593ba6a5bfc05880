-- The chat's own tables. One text for SQLite and PostgreSQL: TEXT ids, BIGINT microseconds, no engine's own types.

CREATE TABLE people (
    id          TEXT PRIMARY KEY,       -- `chat-` and the handle: the user at the edge and the recipient of notifications
    handle      TEXT NOT NULL UNIQUE,
    name        TEXT NOT NULL,
    password    TEXT NOT NULL,          -- Argon2id, as a PHC string
    demo        BIGINT NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE sessions (
    id          TEXT PRIMARY KEY,       -- public: what a person revokes
    secret_hash TEXT NOT NULL UNIQUE,   -- SHA-256 of what the cookie holds
    person_id   TEXT NOT NULL REFERENCES people (id),
    label       TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    seen_at     BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL
);
CREATE INDEX sessions_person ON sessions (person_id);

CREATE TABLE rooms (
    id           TEXT PRIMARY KEY,
    kind         TEXT NOT NULL,         -- public, private, direct
    name         TEXT NOT NULL,
    topic        TEXT NOT NULL,
    direct_key   TEXT UNIQUE,           -- the two people of a direct room, in order
    last_seq     BIGINT NOT NULL,       -- the number of the newest change
    slow_seconds BIGINT NOT NULL,
    created_at   BIGINT NOT NULL
);

CREATE TABLE members (
    room_id     TEXT NOT NULL REFERENCES rooms (id),
    person_id   TEXT NOT NULL REFERENCES people (id),
    role        TEXT NOT NULL,          -- owner, moderator, member
    read_seq    BIGINT NOT NULL,
    muted_until BIGINT NOT NULL,
    joined_at   BIGINT NOT NULL,
    PRIMARY KEY (room_id, person_id)
);
CREATE INDEX members_person ON members (person_id);

CREATE TABLE bans (
    room_id    TEXT NOT NULL REFERENCES rooms (id),
    person_id  TEXT NOT NULL REFERENCES people (id),
    until      BIGINT NOT NULL,
    PRIMARY KEY (room_id, person_id)
);

CREATE TABLE files (
    id         TEXT PRIMARY KEY,        -- also its name in the object store
    room_id    TEXT NOT NULL REFERENCES rooms (id),
    person_id  TEXT NOT NULL REFERENCES people (id),
    name       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size       BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE messages (
    id         TEXT PRIMARY KEY,
    room_id    TEXT NOT NULL REFERENCES rooms (id),
    seq        BIGINT NOT NULL,
    author_id  TEXT NOT NULL REFERENCES people (id),
    client_id  TEXT NOT NULL,           -- chosen by the client, so that a repeated request is one message
    body       TEXT NOT NULL,
    folded     TEXT NOT NULL,           -- what search compares: small letters without accents
    file_id    TEXT REFERENCES files (id),
    created_at BIGINT NOT NULL,
    edited_at  BIGINT NOT NULL,
    deleted_at BIGINT NOT NULL,
    UNIQUE (room_id, seq),
    UNIQUE (room_id, author_id, client_id)
);
CREATE INDEX messages_author ON messages (room_id, author_id, created_at);

CREATE TABLE changes (
    room_id    TEXT NOT NULL REFERENCES rooms (id),
    seq        BIGINT NOT NULL,         -- 1, 2, 3, … without holes
    kind       TEXT NOT NULL,
    message_id TEXT,
    person_id  TEXT,
    at         BIGINT NOT NULL,
    PRIMARY KEY (room_id, seq)
);

CREATE TABLE jobs (
    message_id TEXT PRIMARY KEY REFERENCES messages (id),
    command    TEXT NOT NULL,           -- export, thumbnail
    state      TEXT NOT NULL,           -- waiting, running, done, failed
    progress   BIGINT NOT NULL,         -- 0 to 100
    detail     TEXT NOT NULL,           -- a code, for example of the failure
    file_id    TEXT REFERENCES files (id),
    updated_at BIGINT NOT NULL
);

CREATE TABLE presence (
    session   TEXT PRIMARY KEY,         -- the edge's name for one stay of one person
    person_id TEXT NOT NULL,
    online    BIGINT NOT NULL,
    at        BIGINT NOT NULL
);
CREATE INDEX presence_person ON presence (person_id);
