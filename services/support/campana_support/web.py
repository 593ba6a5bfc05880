"""HTTP for browsers: routes, cookies, problem documents, and who is refused before anything is looked at."""

import json
import logging
import re
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from .checks import Wrong
from .desk import Refused

BODY_BYTES_MAX = 32 * 1024
#: A peer that sends nothing for so long is gone.
IDLE_SECONDS = 30
CONNECTIONS_MAX = 512
#: Where the pages of the platform's codes are published; the desk's own codes have none.
TYPE_BASE = "https://campana.dev/errors/"
OWN_CODES = {"claim_first", "ticket_closed", "ticket_taken"}
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
TICKET = re.compile(r"^/api/tickets/(t[0-9a-f]{16})(?:/(messages|seen|close|claim))?$")

log = logging.getLogger("support.web")


class Server(ThreadingHTTPServer):
    """A thread for each connection, up to a bound."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address, handler, **shared):
        self.shared, self.lock = shared, threading.Lock()
        #: Connections, and requests that have no answer yet.
        self.open, self.working = 0, 0
        self.closing = False
        super().__init__(address, handler)

    def count(self, connections, requests):
        with self.lock:
            self.open += connections
            self.working += requests

    def stop(self):
        """Takes no connection any more; each that is open ends with its next answer."""
        self.closing = True
        self.shutdown()
        self.server_close()

    def process_request(self, request, client_address):
        if self.open >= CONNECTIONS_MAX:
            self.shutdown_request(request)
            return
        self.count(1, 0)
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.count(-1, 0)
            self.shared["store"].close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "campana-support"
    sys_version = ""
    timeout = IDLE_SECONDS
    # Head and body in one packet: answers are small, and waiting for the peer's acknowledgement takes 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self):
        self.answer_to("GET")

    def do_POST(self):
        self.answer_to("POST")

    def do_DELETE(self):
        self.answer_to("DELETE")

    def answer_to(self, method):
        self.server.count(0, 1)
        try:
            self.answer_in_hand(method)
            self.wfile.flush()
        finally:
            self.server.count(0, -1)

    def answer_in_hand(self, method):
        shared = self.server.shared
        self.new_cookies, self.json = [], None
        parts = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.cookies = cookies_of(self.headers.get("Cookie", ""))
        try:
            if method == "GET" and (name := shared["pages"].find(parts.path)):
                return self.send_file(*shared["pages"].files[name])
            if method != "GET":
                self.admit()
            status, body = self.route(method, parts.path)
        except Wrong as wrong:
            errors = [{"pointer": wrong.pointer, "code": wrong.code}]
            status, body = problem(422, "validation_failed", "Some fields are not valid", errors)
        except Refused as refused:
            status, body = problem(refused.status, refused.code, refused.title, refused.errors)
        except sqlite3.Error as error:
            log.warning("a request was not answered: %s", error)
            status, body = problem(503, "unavailable", "The desk cannot take this at the moment")
        self.send_json(status, body)

    def admit(self):
        """Reads the body, if the desk's own page sent it and its sender has not had its share."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Transfer-Encoding") or not length.isdigit() or int(length) > BODY_BYTES_MAX:
            # What is not read would be taken for the next request.
            self.close_connection = True
            raise Refused(413, "payload_too_large", "The body is too large")
        raw = self.rfile.read(int(length))
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, "unsupported_media_type", "Only JSON is taken here")
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != self.headers.get("Host"):
            raise Refused(403, "foreign_origin", "The request seems to come from another page")
        if not self.server.shared["rate"].admits(self.client_address[0]):
            raise Refused(429, "rate_limited", "Too many requests at once")
        try:
            self.json = json.loads(raw)
        except ValueError:
            raise Refused(400, "invalid_json", "The body is not valid JSON") from None
        if not isinstance(self.json, dict):
            raise Refused(400, "invalid_json", "The body is not a JSON object")

    def route(self, method, path):
        desk = self.server.shared["desk"]
        fixed = {
            ("GET", "/healthz"): lambda _: (200, {"ok": True}),
            ("GET", "/readyz"): self.ready,
            ("GET", "/api/tickets"): desk.tickets,
            ("POST", "/api/tickets"): desk.open_ticket,
            ("GET", "/api/live"): desk.live,
            ("GET", "/api/session"): desk.whoami,
            ("POST", "/api/session"): self.sign_in,
            ("DELETE", "/api/session"): desk.sign_out,
            ("GET", "/api/queue"): desk.queue,
        }
        if (method, path) in fixed:
            return fixed[method, path](self)
        if found := TICKET.match(path):
            of_ticket = {
                ("GET", None): desk.ticket, ("POST", "messages"): desk.post, ("POST", "seen"): desk.seen,
                ("POST", "close"): desk.close, ("POST", "claim"): desk.claim,
            }
            if handler := of_ticket.get((method, found[2])):
                return handler(self, found[1])
        raise Refused(404, "not_found", "There is no such thing")

    def sign_in(self, request):
        # Guessing passwords is slower than anything else.
        if not self.server.shared["sign_ins"].admits(self.client_address[0]):
            raise Refused(429, "rate_limited", "Too many attempts; wait a minute")
        return self.server.shared["desk"].sign_in(request)

    def ready(self, _request):
        self.server.shared["store"].row("SELECT 1 AS one")
        return 200, {"ready": True}

    def query_number(self, name):
        text = self.query.get(name, "0")
        if not text.isdigit() or len(text) > 15:
            raise Refused(400, "invalid_parameter", f"{name} is not a number")
        return int(text)

    def set_cookie(self, name, value, seconds):
        secure = "; Secure" if self.headers.get("X-Forwarded-Proto") == "https" else ""
        self.new_cookies.append(f"{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}")

    def send_json(self, status, body):
        kind = "application/json" if status < 400 else "application/problem+json"
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        if status in (429, 503):
            self.send_header("Retry-After", "2")
        for cookie in self.new_cookies:
            self.send_header("Set-Cookie", cookie)
        self.finish_head(len(data))
        self.wfile.write(data)

    def send_file(self, data, kind, etag):
        known = self.headers.get("If-None-Match") == etag
        self.send_response(304 if known else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-cache")
        self.send_header("ETag", etag)
        if kind.startswith("text/html"):
            self.send_header("Content-Security-Policy", self.server.shared["pages"].policy)
        self.finish_head(0 if known else len(data))
        if not known:
            self.wfile.write(data)

    def finish_head(self, length):
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        if self.server.closing:
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_):
        """Requests hold names and numbers of tickets: they are not logged."""


def cookies_of(header):
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return {name: value for name, _, value in pairs if name}


def problem(status, code, title, errors=()):
    kind = "about:blank" if code in OWN_CODES else TYPE_BASE + code
    body = {"type": kind, "title": title, "status": status, "code": code}
    if errors:
        body["errors"] = list(errors)
    return status, body


class AppHandler(BaseHTTPRequestHandler):
    """The sidecar's side: the declaration, and deliveries."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/campana/subscriptions":
            self.answer(200, self.server.shared["declaration"])
        else:
            self.answer(404, None)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.count(0, 1)
        try:
            status, answer = self.server.shared["deliveries"].handle(self.path, self.headers, body)
        except sqlite3.Error as error:
            log.warning("an event is tried again: %s", error)
            status, answer = 503, None
        try:
            self.answer(status, answer)
            self.wfile.flush()
        finally:
            self.server.count(0, -1)

    def answer(self, status, body):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if body is not None:
            self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        if self.server.closing:
            # The sidecar then finds no connection, which costs a message no attempt.
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass
