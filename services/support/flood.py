"""Measures whether a flood on the support desk slows the rest of the platform.

Rings a bell again and again: while the desk is quiet, then while other services ask it for tickets as fast as you say,
and so on in turns, and prints how long each bell took from the request to the browser's side of the edge.

    export CAMPANA_API_KEY=ck_…
    export CAMPANA_SIDECAR_TOKEN=…     # if the sidecar wants one; `campana up --apps` keeps it in apps/sidecar-token
    python3 flood.py --sidecar-url http://127.0.0.1:3500 --gateway-url http://127.0.0.1:8080

Latency counts from the moment at which a bell was meant to be asked for, so a stall is not left out.
"""

import argparse
import http.client
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

BATCH = 20
WAIT_SECONDS = 30
USER = "support-flood-probe"


def connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme in ("https", "wss") else http.client.HTTPConnection
    return kind(parts.netloc, timeout=60)


def post(
    connection: http.client.HTTPConnection, path: str, body: Any, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **(headers or {})})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read() or b"null")


class Bell(threading.Thread):
    """Listens at the edge, and notes when each title rang."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(daemon=True)
        self.rang: dict[str, float] = {}
        self.news, self.ready = threading.Condition(), threading.Event()
        self.connection = connect(url)
        body = json.dumps({"token": token})
        self.connection.request("POST", "/connection/uni_http_stream", body, {"Content-Type": "application/json"})
        self.stream = self.connection.getresponse()
        if self.stream.status != 200:
            sys.exit(f"the edge answered {self.stream.status}")

    def run(self) -> None:
        for line in self.stream:
            now, push = time.monotonic(), json.loads(line)
            if "connect" in push:
                self.ready.set()
            title = push.get("pub", {}).get("data", {}).get("title")
            if title:
                with self.news:
                    self.rang.setdefault(title, now)
                    self.news.notify_all()


class Flood(threading.Thread):
    """Other services that ask for tickets, at a steady rate."""

    def __init__(self, url: str, per_second: float) -> None:
        super().__init__(daemon=True)
        self.url, self.per_second = url, per_second
        self.told, self.stopping = 0, threading.Event()
        #: Why it ended before it was told to.
        self.failure = ""

    def run(self) -> None:
        try:
            self.ask()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.failure = f"the sidecar: {type(error).__name__}"

    def ask(self) -> None:
        """Asks for tickets until it is stopped."""
        connection, run, begin = connect(self.url), secrets.token_hex(6), time.monotonic()
        token = os.environ.get("CAMPANA_SIDECAR_TOKEN")
        headers = {"campana-api-token": token} if token else None
        while not self.stopping.is_set():
            numbers = range(self.told, self.told + BATCH)
            events = [
                {"service": "support", "event": "ticket_requested", "id": f"flood-{run}-{number}", "data": {
                    "reference": f"flood-{run}-{number}", "name": "Flood", "subject": f"Flood {number}",
                    "text": "Help!"}}
                for number in numbers
            ]
            status, problem = post(connection, "/v1/publish", {"events": events}, headers)
            if status != 200:
                self.failure = f"the sidecar answered {status}: {problem}"
                return
            self.told += BATCH
            ahead = begin + self.told / self.per_second - time.monotonic()
            self.stopping.wait(max(0.0, ahead))


def ring(name: str, bell: Bell, options: argparse.Namespace, headers: Mapping[str, str]) -> list[float]:
    """Rings `probes` times at a steady rate; milliseconds of those that rang."""
    connection, meant = connect(options.gateway_url), {}
    begin = time.monotonic()
    for number in range(options.probes):
        at = begin + number / options.probes_per_second
        time.sleep(max(0.0, at - time.monotonic()))
        title = f"{name} {secrets.token_hex(4)}"
        meant[title] = at
        body = {"to": {"id": USER}, "content": {"title": title}, "channels": ["in_app"]}
        status, problem = post(connection, "/v1/notifications", body, headers)
        if status != 202:
            sys.exit(f"the gateway answered {status}: {problem}")
    with bell.news:
        bell.news.wait_for(lambda: all(title in bell.rang for title in meant), WAIT_SECONDS)
        return [(bell.rang[title] - at) * 1_000 for title, at in meant.items() if title in bell.rang]


def summary(probes: int, found: list[float]) -> dict[str, float | int | None]:
    """Ranks of all rounds of a kind."""
    found = sorted(found)

    def rank(share: float) -> float | None:
        return round(found[min(len(found) - 1, int(share * len(found)))], 1) if found else None

    return {"probes": probes, "rang": len(found), "p50_ms": rank(0.5), "p90_ms": rank(0.9), "p99_ms": rank(0.99),
            "max_ms": rank(1)}


def measure(bell: Bell, options: argparse.Namespace, headers: Mapping[str, str]) -> dict[str, Any]:
    """All rounds; ends the program if the flood was none."""
    quiet: list[float] = []
    flooded: list[float] = []
    told, seconds = 0, 0.0
    for _ in range(options.rounds):
        quiet += ring("quiet", bell, options, headers)
        flood, begin = Flood(options.sidecar_url, options.flood_per_second), time.monotonic()
        flood.start()
        flooded += ring("flood", bell, options, headers)
        flood.stopping.set()
        flood.join()
        if flood.failure:
            sys.exit(f"the flood ended early, so nothing was measured: {flood.failure}")
        told, seconds = told + flood.told, seconds + time.monotonic() - begin
        time.sleep(options.settle_seconds)
    probes = options.probes * options.rounds
    return {"quiet": summary(probes, quiet), "flood": summary(probes, flooded), "flooded": told,
            "flood_per_second": round(told / seconds, 1)}


def main() -> None:
    """Reads the command line, and prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sidecar-url", default="http://127.0.0.1:3500", help="the desk's sidecar")
    parser.add_argument("--gateway-url", default="http://127.0.0.1:8080")
    parser.add_argument("--edge-url", help="the edge as HTTP; the gateway says it if absent")
    parser.add_argument("--probes", type=int, default=200)
    parser.add_argument("--probes-per-second", type=float, default=20.0)
    parser.add_argument("--flood-per-second", type=float, default=200.0)
    parser.add_argument("--rounds", type=int, default=3, help="of each kind, in turns")
    parser.add_argument("--settle-seconds", type=float, default=5.0, help="rest after a flood")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    headers = {"Authorization": f"Bearer {os.environ.get('CAMPANA_API_KEY', '')}"}
    status, session = post(connect(options.gateway_url), "/v1/tokens", {"user": USER}, headers)
    if status not in (200, 201):
        sys.exit(f"no token, the gateway answered {status}: is CAMPANA_API_KEY set?")
    edge = options.edge_url or session["ws_url"].replace("ws", "http", 1).split("/connection")[0]
    bell = Bell(edge, session["token"])
    bell.start()
    if not bell.ready.wait(WAIT_SECONDS):
        sys.exit("the edge let nobody in")
    found = measure(bell, options, headers)
    if options.json:
        print(json.dumps(found))
        return
    print(f"{'':8}{'rang':>10}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for name in ("quiet", "flood"):
        one = found[name]
        rang = f"{one['rang']}/{one['probes']}"
        print(f"{name:8}{rang:>10}{one['p50_ms']:>9}{one['p90_ms']:>9}{one['p99_ms']:>9}{one['max_ms']:>9}")
    print(f"the flood: {found['flooded']} tickets asked for, {found['flood_per_second']} a second")


if __name__ == "__main__":
    main()
