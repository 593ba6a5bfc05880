"""The sidecar's side: the declaration, and deliveries.

Served on 127.0.0.1 only. Never: takes an event of a page in a browser on this machine, which names its origin, or comes
by another name of this machine; with a token, of anybody who does not know it.
"""

import json
import logging
import sqlite3

from . import auth
from .server import Connection, Refused, log_without_values

#: As much as the sidecar lets an event have, and its envelope.
BODY_BYTES_MAX = 1024 * 1024

log = logging.getLogger("support.app")


class AppHandler(Connection):
    """One connection of the sidecar."""

    body_bytes_max = BODY_BYTES_MAX

    def respond(self, method: str) -> None:
        status, answer = self.answered(method)
        data = b"" if answer is None else json.dumps(answer).encode()
        # While the server closes, the sidecar then finds no connection, which costs a message no attempt.
        self.send(status, None if answer is None else "application/json", data, [])

    def answered(self, method: str) -> tuple[int, object]:
        """Status and body."""
        shared = self.server.shared
        try:
            raw = self.body() if method == "POST" else b""
            self.admit(shared.get("token", ""))
            if method == "GET" and self.path == "/campana/subscriptions":
                return 200, shared["declaration"]
            if method == "POST":
                return shared["deliveries"].handle(self.path, self.headers, raw), None
            return 404, None
        except Refused as refused:
            return refused.status, None
        except sqlite3.Error as error:
            log.warning("an event is tried again: %s", error)
            return 503, None
        except OSError:
            raise
        except Exception as error:  # pylint: disable=broad-except
            log_without_values(error)
            return 500, None

    def admit(self, token: str) -> None:
        """Refuses whoever is not the sidecar; the sidecar would try a refused event again."""
        host = (self.headers.get("Host") or "").rpartition(":")[0] or self.headers.get("Host")
        if "Origin" in self.headers or host not in ("127.0.0.1", "localhost", "[::1]"):
            raise Refused(403, "foreign_origin", "Only the sidecar may ask this")
        if token and not auth.same_secret(token, self.headers.get("campana-app-token", "")):
            raise Refused(401, "unauthorized", "Only the sidecar may ask this")
