"""Takes the shop's orders. It knows nothing but HTTP: no library, no broker.

    python3 orders.py 3000                   the app
    campana sidecar --app-port 3000          the sidecar beside it

An order may ask for trouble with "simulate", so that you can see what becomes of it.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIDECAR = os.environ.get("SIDECAR", "http://127.0.0.1:3500")

WANTED = {
    "subscriptions": [
        {
            "name": "orders-py",
            "events": [{"service": "shop", "event": "order_created"}],
            "path": "/orders",
            "max_attempts": 4,
            "backoff_seconds": 0.05,
        }
    ],
    "endpoints": [{"service": "pricing", "endpoint": "quote", "path": "/quote"}],
}


def say(text):
    """One line in one write, because requests are handled side by side."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def sidecar(method, path, body=None, headers=None):
    """Asks the sidecar; returns status, headers and body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(SIDECAR + path, data, headers or {}, method=method)
    if data is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def count_once(order):
    """Adds to a total in the sidecar's store; somebody else may do so at the same time."""
    while True:
        status, headers, body = sidecar("GET", "/v1/kv/orders-py/total")
        total = json.loads(body) if status == 200 else 0
        condition = {"If-Match": headers["ETag"]} if status == 200 else {"If-None-Match": "*"}
        status, _, _ = sidecar("PUT", "/v1/kv/orders-py/total", total + order["cents"], condition)
        if status != 412:
            return


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/campana/subscriptions":
            self.answer(200, WANTED)
        else:
            self.answer(404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/orders":
            self.order(json.loads(body))
        elif self.path == "/quote":
            self.quote(json.loads(body))
        else:
            self.answer(404)

    def order(self, order):
        attempt = int(self.headers["campana-attempt"])
        delivery = "/v1/deliveries/" + self.headers["campana-delivery-id"]
        say(f"got {self.headers['ce-id']} attempt {attempt}")
        simulate = order.get("simulate")
        if simulate == "busy" and attempt < 3:
            return self.answer(429, headers={"Retry-After": "0"})  # again, as soon as you like
        if simulate == "broken" and attempt < 2:
            return self.answer(500)  # again, after the backoff
        if simulate == "crash":
            self.close_connection = True  # no answer at all: again, and parked in the end
            return
        if simulate == "invalid":
            return self.answer(422)  # never again: parked
        if simulate == "unknown_currency":
            sidecar("POST", delivery + "/dead-letter", {"reason": "unknown_currency"})
            return self.answer(200)
        if simulate == "slow":
            status, _, _ = sidecar("POST", delivery + "/extend", {"seconds": 300})
            say(f"extended {status}")
        count_once(order)
        say(f"handled {self.headers['ce-id']}")
        self.answer(204)

    def quote(self, sku):
        if sku == "bell":
            self.answer(200, {"cents": 4200})
        else:
            self.answer(404, {"error": "no such sku"})

    def answer(self, status, body=None, headers=None):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


if __name__ == "__main__":
    server = Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 3000), App)
    say(f"listening on {server.server_address[1]}")
    server.serve_forever()
