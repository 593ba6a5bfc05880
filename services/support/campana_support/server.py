"""What both HTTP servers share: threads up to a bound, and requests that must be read in a given time.

Never: leaves a connection, a thread or a count behind; reads a body of unknown or two lengths; writes what was asked
into the log.
"""

import collections
import io
import json
import logging
import socket
import sys
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .checks import whole_number
from .rate import network_of

#: A request, from the wait for its first byte to the last one of its body.
REQUEST_SECONDS = 30
CONNECTIONS_MAX = 512
#: A page has a few; a visitor with more would keep others out.
CONNECTIONS_OF_ADDRESS_MAX = 128
#: So much of a body that is too large is read, so that its sender hears why it is refused.
DISCARDED_BYTES_MAX = 4 * 1024 * 1024
#: Where the pages of the platform's codes are published; the desk's own codes have none.
TYPE_BASE = "https://campana.dev/errors/"
OWN_CODES = {"claim_first", "ticket_closed", "ticket_full", "ticket_taken"}

log = logging.getLogger("support.server")


class Refused(Exception):
    """A problem on its way to who asked."""

    def __init__(self, status: int, code: str, title: str, errors: tuple[dict[str, str], ...] = ()) -> None:
        super().__init__(code)
        self.status, self.code, self.title, self.errors = status, code, title, errors


def problem(status: int, code: str, title: str, errors: tuple[dict[str, str], ...] = ()) -> dict[str, Any]:
    """An error as RFC 9457 has it."""
    kind = "about:blank" if code in OWN_CODES else TYPE_BASE + code
    body: dict[str, Any] = {"type": kind, "title": title, "status": status, "code": code}
    if errors:
        body["errors"] = list(errors)
    return body


class Server(ThreadingHTTPServer):
    """A thread for each connection, up to a bound."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], **shared: Any) -> None:
        self.shared, self.lock = shared, threading.Lock()
        #: Connections by address, and requests that have no answer yet.
        self.open: collections.Counter[str] = collections.Counter()
        self.working = 0
        self.closing = False
        super().__init__(address, handler)

    def stop(self) -> None:
        """Takes no connection any more; each that is open ends with its next answer."""
        self.closing = True
        self.shutdown()
        self.server_close()

    def enter(self, address: str) -> bool:
        """Whether there is room for one more connection."""
        with self.lock:
            if self.open.total() >= CONNECTIONS_MAX or self.open[address] >= CONNECTIONS_OF_ADDRESS_MAX:
                return False
            self.open[address] += 1
            return True

    def leave(self, address: str) -> None:
        """A connection has ended."""
        with self.lock:
            self.open[address] -= 1
            if self.open[address] <= 0:
                del self.open[address]

    def work(self, requests: int) -> None:
        """So many requests more are in hand."""
        with self.lock:
            self.working += requests

    def process_request(self, request: Any, client_address: Any) -> None:
        address = network_of(client_address[0])
        if not self.enter(address):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.leave(address)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.leave(network_of(client_address[0]))
            self.shared["store"].close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            return  # the peer has gone
        log_without_values(error)


def log_without_values(error: BaseException | None) -> None:
    """Where something went wrong, without the message: it may quote what a customer wrote."""
    where = "".join(traceback.format_tb(error.__traceback__)) if error else ""
    log.error("%s\n%s", type(error).__name__, where)


class Patient(io.RawIOBase):
    """Reads a connection until a deadline, however slowly its peer writes."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.deadline = connection, 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.connection.settimeout(max(0.001, self.deadline - time.monotonic()))
        try:
            return self.connection.recv_into(buffer)
        finally:
            self.connection.settimeout(REQUEST_SECONDS)


class Connection(BaseHTTPRequestHandler):
    """One connection; `respond` answers a request."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "campana-support"
    sys_version = ""
    timeout = REQUEST_SECONDS
    # Head and body in one packet: answers are small, and waiting for the peer's acknowledgement takes 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True
    body_bytes_max = 0

    def respond(self, method: str) -> None:
        """Answers a request."""
        raise NotImplementedError

    def setup(self) -> None:
        super().setup()
        self.patient = Patient(self.connection)
        self.rfile.close()
        self.rfile = io.BufferedReader(self.patient)

    def handle_one_request(self) -> None:
        self.patient.deadline = time.monotonic() + REQUEST_SECONDS
        super().handle_one_request()

    def do_GET(self) -> None:  # pylint: disable=invalid-name
        self.answer_to("GET")

    def do_POST(self) -> None:  # pylint: disable=invalid-name
        self.answer_to("POST")

    def do_DELETE(self) -> None:  # pylint: disable=invalid-name
        self.answer_to("DELETE")

    def answer_to(self, method: str) -> None:
        """Counts the request until its answer has left."""
        self.server.work(1)
        try:
            announced = self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers
            if method == "GET" and announced:
                # Nobody reads it, so it would be taken for the next request.
                self.close_connection = True
            self.respond(method)
            self.wfile.flush()
        finally:
            self.server.work(-1)

    def body(self) -> bytes:
        """The body; what is not read ends the connection, because it would be taken for the next request."""
        lengths = self.headers.get_all("Content-Length") or []
        length = whole_number(lengths[0]) if len(lengths) == 1 else None
        if length is None or length > self.body_bytes_max or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self.discard(min(length or 0, DISCARDED_BYTES_MAX))
            raise Refused(413, "payload_too_large", "The body is too large, or nobody knows its length")
        raw: bytes = self.rfile.read(length)
        if len(raw) < length:
            raise ConnectionAbortedError("the peer has gone")
        return raw

    def discard(self, count: int) -> None:
        """Reads what nobody wants: a peer that is still writing when the connection ends does not see the answer."""
        while count > 0 and (chunk := self.rfile.read(min(count, 65_536))):
            count -= len(chunk)

    def send(self, status: int, kind: str | None, data: bytes, headers: list[tuple[str, str]]) -> None:
        """A whole answer."""
        self.send_response(status)
        if kind is not None:
            self.send_header("Content-Type", kind)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        if self.server.closing or self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def send_problem(self, status: int, body: dict[str, Any], headers: list[tuple[str, str]]) -> None:
        """An error."""
        if status in (429, 503):
            headers = [*headers, ("Retry-After", "2")]
        self.send(status, "application/problem+json", json.dumps(body).encode(), headers)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses: heads that are too long or make no sense, and methods."""
        self.close_connection = True
        # What has no version that is known has an answer with a head all the same.
        self.request_version = self.protocol_version
        found = (405, "method_not_allowed", "The method is not allowed here") if code == 501 else (
            code, "invalid_parameter", "The head of the request makes no sense")
        self.send_problem(found[0], problem(*found), [("Cache-Control", "no-store")])

    def log_message(self, *_: Any) -> None:
        """Requests hold names and numbers of tickets: they are not logged."""
