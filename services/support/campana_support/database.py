"""One SQLite file that several threads and processes share.

Reads and writes: rows, in transactions that have the write lock from their beginning. Never: leaves a transaction open.
"""

import contextlib
import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .schema import migrate

Row = dict[str, Any]

BUSY_SECONDS = 20


def now() -> int:
    """Microseconds since the Unix epoch."""
    return time.time_ns() // 1_000


def digest(text: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(text.encode()).hexdigest()


class Database:
    """One connection for each thread; one thread writes at a time, and the others wait for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.local = threading.local()
        #: SQLite's own waiting is polling, so within a process writers queue here.
        self.writer = threading.Lock()
        #: Set when the outbox has something new.
        self.told = threading.Event()
        path.parent.mkdir(parents=True, exist_ok=True)
        # What customers wrote is nobody else's on this machine; SQLite gives its other files the same rights.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with self.writing() as db:
            migrate(db)

    def db(self) -> sqlite3.Connection:
        """This thread's connection."""
        connection: sqlite3.Connection | None = getattr(self.local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            # What was answered must survive a power cut.
            connection.execute("PRAGMA synchronous = FULL")
            self.local.connection = connection
        return connection

    def close(self) -> None:
        """Ends this thread's connection: a server's threads end with their requests' connection."""
        connection: sqlite3.Connection | None = getattr(self.local, "connection", None)
        if connection is not None:
            connection.close()
            self.local.connection = None

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that has the write lock from its beginning."""
        if not self.writer.acquire(timeout=BUSY_SECONDS):
            raise sqlite3.OperationalError("too many wait to write")
        try:
            db = self.db()
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            finally:
                # Not after a COMMIT, nor after an error that made SQLite roll back by itself.
                if db.in_transaction:
                    db.execute("ROLLBACK")
        finally:
            self.writer.release()
        self.told.set()

    def rows(self, sql: str, *values: Any) -> list[Row]:
        """All rows of a query."""
        return [dict(row) for row in self.db().execute(sql, values)]

    def row(self, sql: str, *values: Any) -> Row | None:
        """The first row of a query."""
        found = self.db().execute(sql, values).fetchone()
        return dict(found) if found else None
