"""The desk's tables, and the steps from each version of them to the next."""

import sqlite3

#: Step n brings a file of version n to version n + 1. A step that was ever released is not changed any more, and the
#: version before it must be able to work on its result: during an upgrade both run.
STEPS = (
    (
        """CREATE TABLE tickets (
            id            TEXT PRIMARY KEY,
            customer      TEXT NOT NULL,
            name          TEXT NOT NULL,
            email         TEXT NOT NULL,
            locale        TEXT NOT NULL,
            subject       TEXT NOT NULL,
            status        TEXT NOT NULL CHECK (status IN ('open', 'claimed', 'closed')),
            agent         TEXT,
            last_seq      INTEGER NOT NULL,
            customer_seen INTEGER NOT NULL,
            created_at    INTEGER NOT NULL,
            updated_at    INTEGER NOT NULL,
            link          TEXT NOT NULL, -- in clear, because each letter about the ticket repeats it
            CHECK (status <> 'open' OR agent IS NULL),
            CHECK (status <> 'claimed' OR agent IS NOT NULL)
        )""",
        "CREATE INDEX tickets_by_state ON tickets (status, created_at)",
        "CREATE INDEX tickets_by_agent ON tickets (agent, status, created_at)",
        "CREATE INDEX tickets_by_customer ON tickets (customer, updated_at)",
        """CREATE TABLE messages (
            ticket TEXT NOT NULL,
            seq    INTEGER NOT NULL,
            author TEXT NOT NULL CHECK (author IN ('customer', 'agent')),
            name   TEXT NOT NULL,
            text   TEXT NOT NULL,
            at     INTEGER NOT NULL,
            key    TEXT NOT NULL,
            PRIMARY KEY (ticket, seq),
            UNIQUE (ticket, author, key)
        )""",
        "CREATE TABLE agents (name TEXT PRIMARY KEY, shown TEXT NOT NULL, password TEXT NOT NULL)",
        """CREATE TABLE sessions (
            hash       TEXT PRIMARY KEY,
            kind       TEXT NOT NULL CHECK (kind IN ('customer', 'agent')),
            who        TEXT NOT NULL,
            expires_at INTEGER NOT NULL
        )""",
        "CREATE INDEX sessions_by_end ON sessions (expires_at)",
        # Events on their way to the sidecar, gone when it has stored them.
        """CREATE TABLE outbox (
            id       INTEGER PRIMARY KEY AUTOINCREMENT,
            event_id TEXT NOT NULL,
            event    TEXT NOT NULL,
            ticket   TEXT NOT NULL,
            delay    INTEGER NOT NULL,
            body     TEXT NOT NULL
        )""",
        # Messages that were handled: a repeat changes nothing.
        "CREATE TABLE inbox (id TEXT PRIMARY KEY, at INTEGER NOT NULL)",
        "CREATE INDEX inbox_by_time ON inbox (at)",
    ),
)


def migrate(db: sqlite3.Connection) -> None:
    """Brings the file up to date, in the caller's transaction."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(STEPS):
        raise SystemExit(f"the tables are of version {version}, this desk knows {len(STEPS)}: start a newer desk")
    for step in STEPS[version:]:
        for statement in step:
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(STEPS)}")
