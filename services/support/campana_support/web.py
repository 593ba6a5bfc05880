"""HTTP for browsers: routes, cookies, problem documents, and who is refused before anything is looked at."""

import json
import logging
import re
import sqlite3
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from .checks import Body, Wrong, parse, whole_number
from .server import Connection, Refused, log_without_values, problem

BODY_BYTES_MAX = 32 * 1024
HEADERS = [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")]
TICKET = re.compile(r"/api/tickets/(t[0-9a-f]{32})(?:/(messages|seen|close|claim|return))?")

log = logging.getLogger("support.web")

Answer = tuple[int, Any]


class Handler(Connection):
    """One connection of a browser."""

    body_bytes_max = BODY_BYTES_MAX

    def respond(self, method: str) -> None:
        self.new_cookies: list[str] = []
        self.json: Body = {}
        try:
            parts = self.address()
            self.cookies = cookies_of(self.headers.get("Cookie", ""))
            shared = self.server.shared
            if method == "GET" and (name := shared["pages"].find(parts.path)):
                self.send_file(*shared["pages"].files[name])
                return
            if method != "GET":
                self.admit()
            status, body = self.route(method, parts.path)
        except Refused as refused:
            status, body = refused.status, problem(refused.status, refused.code, refused.title, refused.errors)
        except Wrong as wrong:
            errors = ({"pointer": wrong.pointer, "code": wrong.code},)
            status, body = 422, problem(422, "validation_failed", "Some fields are not valid", errors)
        except sqlite3.Error as error:
            log.warning("a request was not answered: %s", error)
            status, body = 503, problem(503, "unavailable", "The desk cannot take this at the moment")
        except OSError:
            raise  # the peer has gone, or is too slow
        except Exception as error:  # pylint: disable=broad-except
            log_without_values(error)
            status, body = 500, problem(500, "internal", "The desk made a mistake")
        self.send_json(status, body)

    def address(self) -> SplitResult:
        """What is asked for, and the query."""
        try:
            parts = urlsplit(self.path)
            self.query = {name: values[-1] for name, values in parse_qs(parts.query, max_num_fields=16).items()}
            return parts
        except ValueError:
            self.close_connection = True  # the body is not read
            raise Refused(400, "invalid_parameter", "The address makes no sense") from None

    def admit(self) -> None:
        """Reads the body, if the desk's own page sent it and its sender has not had its share."""
        raw = self.body()
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, "unsupported_media_type", "Only JSON is taken here")
        if is_foreign(self.headers.get("Origin"), self.headers.get("Host")):
            raise Refused(403, "foreign_origin", "The request seems to come from another page")
        self.share("rate", "Too many requests at once")
        try:
            self.json = parse(raw)
        except ValueError:
            raise Refused(400, "invalid_json", "The body is not a JSON object") from None

    def share(self, name: str, title: str) -> None:
        """Takes from the share of this address."""
        if not self.server.shared[name].admits(self.client_address[0]):
            raise Refused(429, "rate_limited", title)

    def route(self, method: str, path: str) -> Answer:
        """Finds who answers."""
        desk = self.server.shared["desk"]
        fixed: dict[tuple[str, str], Callable[[Handler], Answer]] = {
            ("GET", "/healthz"): lambda _: (200, {"ok": True}),
            ("GET", "/readyz"): Handler.ready,
            ("GET", "/api/tickets"): desk.tickets,
            ("POST", "/api/tickets"): Handler.open_ticket,
            ("GET", "/api/live"): desk.live,
            ("GET", "/api/session"): desk.whoami,
            ("POST", "/api/session"): Handler.sign_in,
            ("DELETE", "/api/session"): desk.sign_out,
            ("GET", "/api/queue"): desk.queue,
        }
        if handler := fixed.get((method, path)):
            return handler(self)
        found = TICKET.fullmatch(path)
        of_ticket: dict[tuple[str, str | None], Callable[[Handler, str], Answer]] = {
            ("GET", None): desk.ticket, ("POST", "messages"): desk.post, ("POST", "seen"): desk.seen,
            ("POST", "close"): desk.close, ("POST", "claim"): desk.claim, ("POST", "return"): desk.give_back,
        }
        if found and (of_one := of_ticket.get((method, found[2]))):
            return of_one(self, found[1])
        if found or any(path == known for _, known in fixed):
            raise Refused(405, "method_not_allowed", "The method is not allowed here")
        raise Refused(404, "not_found", "There is no such thing")

    def open_ticket(self) -> Answer:
        # What is opened stays: fewer of these than of anything else.
        self.share("opens", "Too many questions; wait a moment")
        answer: Answer = self.server.shared["desk"].open_ticket(self)
        return answer

    def sign_in(self) -> Answer:
        # Guessing passwords is slower than anything else.
        self.share("sign_ins", "Too many attempts; wait a minute")
        answer: Answer = self.server.shared["desk"].sign_in(self)
        return answer

    def ready(self) -> Answer:
        self.server.shared["store"].row("SELECT 1 AS one")
        return 200, {"ready": True}

    def query_number(self, name: str) -> int:
        """A number of the query; 0 if it is not there."""
        found = whole_number(self.query.get(name, "0"))
        if found is None:
            raise Refused(400, "invalid_parameter", f"{name} is not a number")
        return found

    def set_cookie(self, name: str, value: str, seconds: int) -> None:
        """A cookie that no script reads and no foreign form sends."""
        secure = "; Secure" if self.headers.get("X-Forwarded-Proto") == "https" else ""
        self.new_cookies.append(f"{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}")

    def send_json(self, status: int, body: Any) -> None:
        """What a page asked for, or a problem."""
        headers = [*HEADERS, ("Cache-Control", "no-store"), *(("Set-Cookie", cookie) for cookie in self.new_cookies)]
        if status >= 400:
            self.send_problem(status, body, headers)
        else:
            self.send(status, "application/json", json.dumps(body).encode(), headers)

    def send_file(self, data: bytes, kind: str, etag: str) -> None:
        """A part of a page."""
        headers = [*HEADERS, ("Cache-Control", "no-cache"), ("ETag", etag)]
        if kind.startswith("text/html"):
            headers.append(("Content-Security-Policy", self.server.shared["pages"].policy))
        known = self.headers.get("If-None-Match") == etag
        self.send(304 if known else 200, kind, b"" if known else data, headers)


def is_foreign(origin: str | None, host: str | None) -> bool:
    """Whether a page of another host asks; a browser says so with everything that changes something."""
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc != host
    except ValueError:
        return True


def cookies_of(header: str) -> dict[str, str]:
    """The cookies of a request."""
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return {name: value for name, _, value in pairs if name}
