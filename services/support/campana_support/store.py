"""The desk's tables.

Reads and writes: everything. Never: a change without the event that tells it, in the same transaction; an effect of a
message without the note that the message was seen; a decision about a ticket on what was read before the transaction.
"""

import json
import secrets
import sqlite3
from typing import Any

from .database import Database, Row, digest, now

#: A row of the inbox outlives every copy of its message.
INBOX_SECONDS = 90 * 86_400
CUSTOMER_SECONDS = 30 * 86_400
AGENT_SECONDS = 12 * 3_600
LIST_MAX = 100
PAGE_MAX = 200
#: A chat that is longer is no ticket any more.
MESSAGES_MAX = 5_000


class Denied(Exception):
    """The ticket's state does not allow it; the code says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Store(Database):
    """What the desk keeps, and what it tells of it."""

    # Tickets

    def open_ticket(
        self, ticket: str, customer: str, name: str, email: str, locale: str, subject: str, text: str,
        seen: str | None = None,
    ) -> bool:
        """Makes a ticket with its first message. False, and nothing changed, if it is there, or the message was seen."""
        with self.writing() as db:
            if seen is not None and not first_time(db, seen):
                return False
            at = now()
            made = db.execute(
                "INSERT OR IGNORE INTO tickets VALUES (?, ?, ?, ?, ?, ?, 'open', NULL, 0, 0, ?, ?, ?)",
                (ticket, customer, name, email, locale, subject, at, at, secrets.token_urlsafe(24)),
            )
            if made.rowcount == 0:
                return False
            tell(db, f"{ticket}-opened", "ticket_opened", ticket, {"ticket": ticket})
            append(db, ticket, "customer", name, text, "first", at)
            db.execute("UPDATE tickets SET customer_seen = last_seq WHERE id = ?", (ticket,))
            return True

    def post_as_customer(self, ticket: str, text: str, key: str) -> int:
        """Adds a message and returns its number; a repeat of the same key has the number of the first."""
        with self.writing() as db:
            if seq := number_by_key(db, ticket, "customer", key):
                return seq
            found = writable(db, ticket)
            seq = append(db, ticket, "customer", found["name"], text, key, now())
            db.execute("UPDATE tickets SET customer_seen = ? WHERE id = ?", (seq, ticket))
            return seq

    def post_as_agent(self, ticket: str, agent: str, text: str, key: str, unread_seconds: int) -> int:
        """As `post_as_customer`, for the agent who has claimed the ticket."""
        with self.writing() as db:
            if seq := number_by_key(db, ticket, "agent", key):
                return seq
            if writable(db, ticket)["agent"] != agent:
                raise Denied("claim_first")
            shown = db.execute("SELECT shown FROM agents WHERE name = ?", (agent,)).fetchone()["shown"]
            seq = append(db, ticket, "agent", shown, text, key, now())
            body = {"ticket": ticket, "seq": seq}
            tell(db, f"{ticket}-unread-{seq}", "answer_unread", ticket, body, delay=unread_seconds)
            return seq

    def claim(self, ticket: str, agent: str) -> bool:
        """Gives an unclaimed ticket to one agent. False if somebody else was quicker."""
        with self.writing() as db:
            at = now()
            claimed = db.execute(
                "UPDATE tickets SET agent = ?, status = 'claimed', updated_at = ? WHERE id = ? AND status = 'open'",
                (agent, at, ticket),
            )
            if claimed.rowcount:
                # A ticket can be claimed again after it was given back: each time is an event of its own.
                tell(db, f"{ticket}-claimed-{at}", "ticket_claimed", ticket, {"ticket": ticket})
                return True
            owner = db.execute("SELECT agent, status FROM tickets WHERE id = ?", (ticket,)).fetchone()
            return owner is not None and owner["agent"] == agent and owner["status"] == "claimed"

    def give_back(self, ticket: str, agent: str) -> None:
        """The agent's ticket waits for anybody again. A repeat changes nothing."""
        with self.writing() as db:
            give_back(db, ticket, agent)

    def finish(self, ticket: str, agent: str | None) -> None:
        """Closes a ticket, for the agent who has it, or for the customer, who has seen what there was."""
        with self.writing() as db:
            found = db.execute("SELECT agent, status FROM tickets WHERE id = ?", (ticket,)).fetchone()
            if found is None or found["status"] == "closed":
                return
            if agent is not None and found["agent"] != agent:
                raise Denied("claim_first")
            db.execute("UPDATE tickets SET status = 'closed', updated_at = ? WHERE id = ?", (now(), ticket))
            if agent is None:
                db.execute("UPDATE tickets SET customer_seen = last_seq WHERE id = ?", (ticket,))
            tell(db, f"{ticket}-closed", "ticket_closed", ticket, {"ticket": ticket})

    def see(self, ticket: str, seq: int) -> None:
        """The customer has seen messages up to this one."""
        with self.writing() as db:
            db.execute(
                "UPDATE tickets SET customer_seen = MAX(customer_seen, MIN(?, last_seq)) WHERE id = ?", (seq, ticket)
            )

    def ticket(self, ticket: str) -> Row | None:
        """A ticket by its number."""
        return self.row("SELECT * FROM tickets WHERE id = ?", ticket)

    def messages(self, ticket: str, after: int) -> list[Row]:
        """A page of what was said behind a message."""
        return self.rows(
            "SELECT seq, author, name, text, at FROM messages WHERE ticket = ? AND seq > ? ORDER BY seq LIMIT ?",
            ticket, after, PAGE_MAX,
        )

    def last_answer(self, ticket: str) -> int | None:
        """The number of an agent's newest message."""
        found = self.row("SELECT MAX(seq) AS seq FROM messages WHERE ticket = ? AND author = 'agent'", ticket)
        return found["seq"] if found else None

    def of_customer(self, customer: str) -> list[Row]:
        """The customer's own, newest first."""
        return self.rows(
            "SELECT * FROM tickets WHERE customer = ? ORDER BY updated_at DESC LIMIT ?", customer, LIST_MAX
        )

    def of_agent(self, agent: str) -> list[Row]:
        """What is this agent's, then what waits for anybody, oldest first: however many wait, the own ones are there."""
        own = self.rows(
            "SELECT * FROM tickets WHERE agent = ? AND status = 'claimed' ORDER BY created_at LIMIT ?", agent, LIST_MAX
        )
        free = self.rows("SELECT * FROM tickets WHERE status = 'open' ORDER BY created_at LIMIT ?", LIST_MAX)
        return own + free

    def waiting(self) -> int:
        """How many wait for anybody."""
        found = self.row("SELECT COUNT(*) AS n FROM tickets WHERE status = 'open'")
        return found["n"] if found else 0

    # People

    def agent(self, name: str) -> Row | None:
        """An agent's account."""
        return self.row("SELECT * FROM agents WHERE name = ?", name)

    def put_agent(self, name: str, shown: str, password: str) -> None:
        """Makes an account, or changes its password, which ends what was opened with the old one."""
        with self.writing() as db:
            db.execute(
                "INSERT INTO agents VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET password = excluded.password",
                (name, shown, password),
            )
            db.execute("DELETE FROM sessions WHERE kind = 'agent' AND who = ?", (name,))

    def remove_agent(self, name: str) -> bool:
        """Removes an account with its sessions; its tickets wait for anybody again. False if there is none."""
        with self.writing() as db:
            if db.execute("DELETE FROM agents WHERE name = ?", (name,)).rowcount == 0:
                return False
            db.execute("DELETE FROM sessions WHERE kind = 'agent' AND who = ?", (name,))
            for ticket in db.execute("SELECT id FROM tickets WHERE agent = ? AND status = 'claimed'", (name,)).fetchall():
                give_back(db, ticket["id"], name)
            return True

    def put_session(self, token: str, kind: str, who: str) -> int:
        """Notes a session and returns for how many seconds it is good."""
        seconds = CUSTOMER_SECONDS if kind == "customer" else AGENT_SECONDS
        with self.writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?)",
                (digest(token), kind, who, now() + seconds * 1_000_000),
            )
        return seconds

    def session(self, token: str, kind: str) -> str | None:
        """Whose session it is."""
        found = self.row(
            "SELECT who FROM sessions WHERE hash = ? AND kind = ? AND expires_at > ?", digest(token), kind, now()
        )
        return found["who"] if found else None

    def end_session(self, token: str) -> None:
        """Revokes a session."""
        with self.writing() as db:
            db.execute("DELETE FROM sessions WHERE hash = ?", (digest(token),))

    # Events

    def pending(self, limit: int) -> list[Row]:
        """The oldest events that are still to be told."""
        return self.rows("SELECT * FROM outbox ORDER BY id LIMIT ?", limit)

    def settled(self, rows: list[Row]) -> None:
        """Forgets events that were told."""
        with self.writing() as db:
            db.executemany("DELETE FROM outbox WHERE id = ?", [(row["id"],) for row in rows])

    def tidy(self) -> None:
        """Forgets what has ended; once an hour is enough."""
        with self.writing() as db:
            db.execute("DELETE FROM sessions WHERE expires_at < ?", (now(),))
            db.execute("DELETE FROM inbox WHERE at < ?", (now() - INBOX_SECONDS * 1_000_000,))


def number_by_key(db: sqlite3.Connection, ticket: str, author: str, key: str) -> int | None:
    """The number of the message that was sent with this key."""
    sql = "SELECT seq FROM messages WHERE ticket = ? AND author = ? AND key = ?"
    found = db.execute(sql, (ticket, author, key)).fetchone()
    return found["seq"] if found else None


def writable(db: sqlite3.Connection, ticket: str) -> sqlite3.Row:
    """The ticket, if it takes messages."""
    found: sqlite3.Row | None = db.execute("SELECT * FROM tickets WHERE id = ?", (ticket,)).fetchone()
    if found is None or found["status"] == "closed":
        raise Denied("ticket_closed")
    if found["last_seq"] >= MESSAGES_MAX:
        raise Denied("ticket_full")
    return found


def append(db: sqlite3.Connection, ticket: str, author: str, name: str, text: str, key: str, at: int) -> int:
    """Adds a message and tells of it."""
    db.execute("UPDATE tickets SET last_seq = last_seq + 1, updated_at = ? WHERE id = ?", (at, ticket))
    seq: int = db.execute("SELECT last_seq FROM tickets WHERE id = ?", (ticket,)).fetchone()["last_seq"]
    db.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", (ticket, seq, author, name, text, at, key))
    # What was said stays in the desk: the event says only where it is.
    tell(db, f"{ticket}-{seq}", "message_posted", ticket, {"ticket": ticket, "seq": seq, "author": author})
    return seq


def give_back(db: sqlite3.Connection, ticket: str, agent: str) -> None:
    """Puts a claimed ticket back into the queue and tells of it."""
    at = now()
    free = db.execute(
        "UPDATE tickets SET agent = NULL, status = 'open', updated_at = ? "
        "WHERE id = ? AND agent = ? AND status = 'claimed'",
        (at, ticket, agent),
    )
    if free.rowcount:
        tell(db, f"{ticket}-returned-{at}", "ticket_returned", ticket, {"ticket": ticket})


def tell(
    db: sqlite3.Connection, event_id: str, event: str, ticket: str, body: dict[str, Any], delay: int = 0
) -> None:
    """Puts an event into the outbox."""
    db.execute(
        "INSERT INTO outbox (event_id, event, ticket, delay, body) VALUES (?, ?, ?, ?, ?)",
        (event_id, event, ticket, delay, json.dumps(body)),
    )


def first_time(db: sqlite3.Connection, message: str) -> bool:
    """Notes in this transaction that a message was handled; false if it was before."""
    return db.execute("INSERT OR IGNORE INTO inbox VALUES (?, ?)", (message, now())).rowcount > 0
