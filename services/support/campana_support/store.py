"""The desk's tables, in one SQLite file that several processes may share.

Reads and writes: everything. Never: a change without the event that tells it, in the same transaction; an effect of a
message without the note that the message was seen.
"""

import contextlib
import hashlib
import json
import sqlite3
import threading
import time

SCHEMA = """
CREATE TABLE tickets (
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
    updated_at    INTEGER NOT NULL
);
CREATE INDEX tickets_by_state ON tickets (status, updated_at);
CREATE INDEX tickets_by_customer ON tickets (customer, updated_at);
CREATE TABLE messages (
    ticket TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    author TEXT NOT NULL CHECK (author IN ('customer', 'agent', 'system')),
    name   TEXT NOT NULL,
    text   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    key    TEXT NOT NULL,
    PRIMARY KEY (ticket, seq),
    UNIQUE (ticket, key)
);
CREATE TABLE agents (name TEXT PRIMARY KEY, shown TEXT NOT NULL, password TEXT NOT NULL);
CREATE TABLE sessions (
    hash       TEXT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('customer', 'agent')),
    who        TEXT NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE INDEX sessions_by_end ON sessions (expires_at);
-- Events on their way to the sidecar, gone when it has stored them.
CREATE TABLE outbox (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL,
    event    TEXT NOT NULL,
    ticket   TEXT NOT NULL,
    delay    INTEGER NOT NULL,
    body     TEXT NOT NULL
);
-- Messages that were handled: a repeat changes nothing.
CREATE TABLE inbox (id TEXT PRIMARY KEY, at INTEGER NOT NULL);
CREATE INDEX inbox_by_time ON inbox (at);
"""
VERSION = 1
BUSY_SECONDS = 30
#: A row of the inbox outlives every copy of its message.
INBOX_SECONDS = 90 * 86_400
CUSTOMER_SECONDS = 30 * 86_400
AGENT_SECONDS = 12 * 3_600
LIST_MAX = 100
PAGE_MAX = 200


def now():
    """Microseconds since the Unix epoch."""
    return time.time_ns() // 1_000


def digest(text):
    """What is stored of a secret."""
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """One connection for each thread; SQLite has one writer, and the others wait for it."""

    def __init__(self, path):
        self.path = path
        self.local = threading.local()
        #: Set when the outbox has something new.
        self.told = threading.Event()
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.writing() as db:
            if db.execute("PRAGMA user_version").fetchone()[0] < VERSION:
                for statement in SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {VERSION}")

    def db(self):
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            # What was answered must survive a power cut.
            connection.execute("PRAGMA synchronous = FULL")
            self.local.connection = connection
        return connection

    def close(self):
        """Ends this thread's connection: a server's threads end with their requests' connection."""
        connection = getattr(self.local, "connection", None)
        if connection is not None:
            connection.close()
            self.local.connection = None

    @contextlib.contextmanager
    def writing(self):
        """One transaction that has the write lock from its beginning."""
        db = self.db()
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
        self.told.set()

    def rows(self, sql, *values):
        return [dict(row) for row in self.db().execute(sql, values)]

    def row(self, sql, *values):
        found = self.db().execute(sql, values).fetchone()
        return dict(found) if found else None

    # Tickets

    def open_ticket(self, ticket, customer, name, email, locale, subject, text, seen=None):
        """Makes a ticket with its first message. False, and nothing changed, if it is there, or the message was seen."""
        with self.writing() as db:
            if seen is not None and not first_time(db, seen):
                return False
            at = now()
            made = db.execute(
                "INSERT OR IGNORE INTO tickets VALUES (?, ?, ?, ?, ?, ?, 'open', NULL, 0, 0, ?, ?)",
                (ticket, customer, name, email, locale, subject, at, at),
            )
            if made.rowcount == 0:
                return False
            tell(db, f"{ticket}-opened", "ticket_opened", ticket, {"ticket": ticket})
            append(db, ticket, "customer", name, text, "first", at)
            return True

    def post(self, ticket, author, name, text, key, unread_seconds):
        """Adds a message and returns its number; a repeat of the same key has the number of the first."""
        with self.writing() as db:
            found = db.execute("SELECT seq FROM messages WHERE ticket = ? AND key = ?", (ticket, key)).fetchone()
            if found:
                return found["seq"]
            state = db.execute("SELECT status FROM tickets WHERE id = ?", (ticket,)).fetchone()
            if state is None or state["status"] == "closed":
                return None
            seq = append(db, ticket, author, name, text, key, now())
            if author == "agent":
                body = {"ticket": ticket, "seq": seq}
                tell(db, f"{ticket}-unread-{seq}", "answer_unread", ticket, body, delay=unread_seconds)
            else:
                db.execute("UPDATE tickets SET customer_seen = ? WHERE id = ?", (seq, ticket))
            return seq

    def claim(self, ticket, agent):
        """Gives an unclaimed ticket to one agent. False if somebody else was quicker."""
        with self.writing() as db:
            claimed = db.execute(
                "UPDATE tickets SET agent = ?, status = 'claimed', updated_at = ? WHERE id = ? AND status = 'open'",
                (agent, now(), ticket),
            )
            if claimed.rowcount:
                tell(db, f"{ticket}-claimed", "ticket_claimed", ticket, {"ticket": ticket})
                return True
            owner = db.execute("SELECT agent, status FROM tickets WHERE id = ?", (ticket,)).fetchone()
            return owner is not None and owner["agent"] == agent and owner["status"] == "claimed"

    def finish(self, ticket):
        """Closes a ticket."""
        with self.writing() as db:
            closed = db.execute(
                "UPDATE tickets SET status = 'closed', updated_at = ? WHERE id = ? AND status <> 'closed'",
                (now(), ticket),
            )
            if closed.rowcount:
                tell(db, f"{ticket}-closed", "ticket_closed", ticket, {"ticket": ticket})

    def see(self, ticket, seq):
        """The customer has seen messages up to this one."""
        with self.writing() as db:
            db.execute(
                "UPDATE tickets SET customer_seen = MAX(customer_seen, MIN(?, last_seq)) WHERE id = ?", (seq, ticket)
            )

    def ticket(self, ticket):
        return self.row("SELECT * FROM tickets WHERE id = ?", ticket)

    def messages(self, ticket, after):
        return self.rows(
            "SELECT seq, author, name, text, at FROM messages WHERE ticket = ? AND seq > ? ORDER BY seq LIMIT ?",
            ticket, after, PAGE_MAX,
        )

    def last_answer(self, ticket):
        """The number of an agent's newest message."""
        return self.row("SELECT MAX(seq) AS seq FROM messages WHERE ticket = ? AND author = 'agent'", ticket)["seq"]

    def of_customer(self, customer):
        return self.rows(
            "SELECT * FROM tickets WHERE customer = ? ORDER BY updated_at DESC LIMIT ?", customer, LIST_MAX
        )

    def of_agent(self, agent):
        """What waits for anybody, oldest first, and what is this agent's."""
        return self.rows(
            "SELECT * FROM tickets WHERE status = 'open' OR (status = 'claimed' AND agent = ?) "
            "ORDER BY status DESC, created_at LIMIT ?",
            agent, LIST_MAX,
        )

    def waiting(self):
        return self.row("SELECT COUNT(*) AS n FROM tickets WHERE status = 'open'")["n"]

    # People

    def agent(self, name):
        return self.row("SELECT * FROM agents WHERE name = ?", name)

    def put_agent(self, name, shown, password):
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO agents VALUES (?, ?, ?)", (name, shown, password))
            # A changed password ends what was opened with the old one.
            db.execute("DELETE FROM sessions WHERE kind = 'agent' AND who = ?", (name,))

    def put_session(self, token, kind, who):
        seconds = CUSTOMER_SECONDS if kind == "customer" else AGENT_SECONDS
        with self.writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?)",
                (digest(token), kind, who, now() + seconds * 1_000_000),
            )
        return seconds

    def session(self, token, kind):
        found = self.row(
            "SELECT who FROM sessions WHERE hash = ? AND kind = ? AND expires_at > ?", digest(token), kind, now()
        )
        return found["who"] if found else None

    def end_session(self, token):
        with self.writing() as db:
            db.execute("DELETE FROM sessions WHERE hash = ?", (digest(token),))

    # Events

    def pending(self, limit):
        return self.rows("SELECT * FROM outbox ORDER BY id LIMIT ?", limit)

    def settled(self, rows):
        with self.writing() as db:
            db.executemany("DELETE FROM outbox WHERE id = ?", [(row["id"],) for row in rows])

    def tidy(self):
        """Forgets what has ended; once an hour is enough."""
        with self.writing() as db:
            db.execute("DELETE FROM sessions WHERE expires_at < ?", (now(),))
            db.execute("DELETE FROM inbox WHERE at < ?", (now() - INBOX_SECONDS * 1_000_000,))


def append(db, ticket, author, name, text, key, at):
    db.execute("UPDATE tickets SET last_seq = last_seq + 1, updated_at = ? WHERE id = ?", (at, ticket))
    seq = db.execute("SELECT last_seq FROM tickets WHERE id = ?", (ticket,)).fetchone()["last_seq"]
    db.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", (ticket, seq, author, name, text, at, key))
    # What was said stays in the desk: the event says only where it is.
    tell(db, f"{ticket}-{seq}", "message_posted", ticket, {"ticket": ticket, "seq": seq, "author": author})
    return seq


def tell(db, event_id, event, ticket, body, delay=0):
    db.execute(
        "INSERT INTO outbox (event_id, event, ticket, delay, body) VALUES (?, ?, ?, ?, ?)",
        (event_id, event, ticket, delay, json.dumps(body)),
    )


def first_time(db, message):
    """Notes in this transaction that a message was handled; false if it was before."""
    return db.execute("INSERT OR IGNORE INTO inbox VALUES (?, ?)", (message, now())).rowcount > 0
