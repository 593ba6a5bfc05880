"""Brings the outbox to the sidecar: every event at least once, under its id, in the order of its ticket.

Several processes may do so side by side: the same id is stored once.
"""

import json
import logging
import threading

from .outside import Away

BATCH_MAX = 100
LOOK_SECONDS = 1.0
PAUSE_SECONDS = 0.5
PAUSE_MAX_SECONDS = 10.0
TIDY_SECONDS = 3_600
SERVICE = "support"

log = logging.getLogger("support.relay")


class Relay(threading.Thread):
    """Runs until it is stopped."""

    def __init__(self, store, sidecar):
        super().__init__(name="relay", daemon=True)
        self.store, self.sidecar = store, sidecar
        self.stopping = threading.Event()

    def run(self):
        pause = PAUSE_SECONDS
        while not self.stopping.is_set():
            self.store.told.clear()
            try:
                while self.turn() and not self.stopping.is_set():
                    pass
                pause = PAUSE_SECONDS
                self.store.told.wait(LOOK_SECONDS)
            except Exception as error:  # pylint: disable=broad-except
                # Whatever it is, the events wait in the table.
                log.warning("events wait, the relay tries again: %s", error)
                self.stopping.wait(pause)
                pause = min(pause * 2, PAUSE_MAX_SECONDS)
        self.store.close()
        self.sidecar.close()

    def stop(self):
        self.stopping.set()
        self.store.told.set()
        self.join()

    def turn(self):
        """One batch; false if nothing waits."""
        rows = self.store.pending(BATCH_MAX)
        if not rows:
            return False
        later = [row for row in rows if row["delay"]]
        # Events of one batch are stored side by side, so it has at most one of each ticket.
        first = {}
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

    def publish(self, path, body):
        status, _ = self.sidecar.post(path, body)
        if status != 200:
            raise Away(f"the sidecar answered {status}")
