"""What the desk asks of others: the sidecar, the edge's server API, the notification gateway. Plain HTTP."""

import http.client
import json
import threading
from urllib.parse import urlsplit

TIMEOUT = 15


class Away(Exception):
    """It did not answer, or not in a way that helps: worth another try."""


class Caller:
    """One kept connection for each thread."""

    def __init__(self, url, headers=None):
        parts = urlsplit(url)
        self.secure, self.host, self.base = parts.scheme == "https", parts.netloc, parts.path.rstrip("/")
        self.headers = headers or {}
        self.local = threading.local()

    def post(self, path, body, headers=None, method="POST"):
        """Status and JSON of the answer."""
        data = None if body is None else json.dumps(body).encode()
        all_headers = {"Content-Type": "application/json", **self.headers, **(headers or {})}
        for fresh in (False, True):
            connection = self.connection(fresh)
            try:
                connection.request(method, self.base + path, data, all_headers)
                answer = connection.getresponse()
                text = answer.read()
                return answer.status, json.loads(text) if text else None
            except (OSError, http.client.HTTPException, ValueError) as error:
                # A kept connection may have been closed by the other side: once more on a new one. Everything that
                # is asked here carries an id, so that a repeat does nothing twice.
                connection.close()
                if fresh:
                    raise Away(f"{type(error).__name__}") from error
        return None

    def connection(self, fresh):
        kept = getattr(self.local, "connection", None)
        if kept is None or fresh:
            kind = http.client.HTTPSConnection if self.secure else http.client.HTTPConnection
            kept = self.local.connection = kind(self.host, timeout=TIMEOUT)
        return kept

    def close(self):
        kept = getattr(self.local, "connection", None)
        if kept is not None:
            kept.close()
            self.local.connection = None
