"""What the desk asks of others: the sidecar, the edge's server API, the notification gateway. Plain HTTP."""

import http.client
import json
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 15
#: An answer is a few lines; what is longer comes from somebody else.
ANSWER_BYTES_MAX = 1024 * 1024


class Away(Exception):
    """It did not answer, or not in a way that helps: worth another try."""


class Caller:
    """One kept connection for each thread."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self.secure, self.host, self.base = parts.scheme == "https", parts.netloc, parts.path.rstrip("/")
        self.headers = dict(headers or {})
        self.local = threading.local()

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        data = json.dumps(body).encode()
        all_headers = {"Content-Type": "application/json", **self.headers, **(headers or {})}
        for fresh in (False, True):
            connection = self.connection(fresh)
            try:
                connection.request("POST", self.base + path, data, all_headers)
                answer = connection.getresponse()
                text = answer.read(ANSWER_BYTES_MAX + 1)
                if len(text) > ANSWER_BYTES_MAX:
                    raise ValueError("a long answer")
                return answer.status, json.loads(text) if text else None
            except (OSError, http.client.HTTPException, ValueError) as error:
                # A kept connection may have been closed by the other side: once more on a new one. Everything that
                # is asked here carries an id, so that a repeat does nothing twice.
                connection.close()
                if fresh:
                    raise Away(type(error).__name__) from error
        raise AssertionError("the second attempt returns or raises")

    def connection(self, fresh: bool) -> http.client.HTTPConnection:
        """This thread's connection, or a new one."""
        kept: http.client.HTTPConnection | None = getattr(self.local, "connection", None)
        if kept is None or fresh:
            kind = http.client.HTTPSConnection if self.secure else http.client.HTTPConnection
            kept = self.local.connection = kind(self.host, timeout=TIMEOUT)
        return kept

    def close(self) -> None:
        """Ends this thread's connection."""
        kept = getattr(self.local, "connection", None)
        if kept is not None:
            kept.close()
            self.local.connection = None
