"""Brings the outbox to the sidecar: every event at least once, under its id, in the order of its ticket.

Several processes may do so side by side: the same id is stored once.
"""

import json
import logging
import sqlite3
import threading
from typing import Any

from .outside import Away, Caller
from .server import log_without_values
from .store import Store

BATCH_MAX = 100
LOOK_SECONDS = 1.0
PAUSE_SECONDS = 0.5
PAUSE_MAX_SECONDS = 10.0
SERVICE = "support"

log = logging.getLogger("support.relay")


class Relay(threading.Thread):
    """Runs until it is stopped."""

    def __init__(self, store: Store, sidecar: Caller) -> None:
        super().__init__(name="relay", daemon=True)
        self.store, self.sidecar = store, sidecar
        self.stopping = threading.Event()

    def run(self) -> None:
        pause = PAUSE_SECONDS
        while not self.stopping.is_set():
            self.store.told.clear()
            try:
                self.drain()
                pause = PAUSE_SECONDS
                self.store.told.wait(LOOK_SECONDS)
            except (Away, sqlite3.Error) as error:
                log.warning("events wait, the relay tries again: %s", error)
                self.stopping.wait(pause)
                pause = min(pause * 2, PAUSE_MAX_SECONDS)
            except Exception as error:  # pylint: disable=broad-except
                # Whatever it is, the events wait in the table.
                log_without_values(error)
                self.stopping.wait(PAUSE_MAX_SECONDS)
        try:
            self.drain()
        except (Away, sqlite3.Error) as error:
            log.warning("events wait for the next desk: %s", error)
        self.store.close()
        self.sidecar.close()

    def stop(self, seconds: float) -> None:
        """Tells what there still is, if the sidecar answers in time, and ends."""
        self.stopping.set()
        self.store.told.set()
        self.join(seconds)

    def drain(self) -> None:
        """Tells everything that waits."""
        while self.turn():
            pass

    def turn(self) -> bool:
        """One batch; false if nothing waits."""
        rows = self.store.pending(BATCH_MAX)
        if not rows:
            return False
        later = [row for row in rows if row["delay"]]
        # Events of one batch are stored side by side, so it has at most one of each ticket.
        first: dict[str, Any] = {}
        for row in rows:
            if not row["delay"]:
                first.setdefault(row["ticket"], row)
        now = list(first.values())
        if now:
            events = [
                {"service": SERVICE, "event": row["event"], "key": row["ticket"], "id": row["event_id"],
                 "data": json.loads(row["body"])}
                for row in now
            ]
            self.publish("/v1/publish", {"events": events})
        for row in later:
            # A batch has no delays.
            path = f"/v1/publish/{SERVICE}/{row['event']}?id={row['event_id']}&delay={row['delay']}"
            self.publish(path, json.loads(row["body"]))
        self.store.settled(now + later)
        return True

    def publish(self, path: str, body: Any) -> None:
        """Hands events over; they are stored when this returns."""
        status, _ = self.sidecar.post(path, body)
        if status != 200:
            raise Away(f"the sidecar answered {status}")
