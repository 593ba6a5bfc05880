"""Starts the peer in one of its shapes: makes the tables, binds a port, becomes uvicorn with its workers.

Reads: its arguments. Writes: a database in the folder it is given, or in PostgreSQL, and one line of JSON on
standard output, in the shape of `campana up`'s up.json, when requests are answered. Never: starts Redis or
PostgreSQL; they are the caller's.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import uvicorn

HERE = pathlib.Path(__file__).resolve().parent
# Settings, channel layer and number of processes of each, and whether its database is PostgreSQL.
SHAPES = {
    "tuned": ("notify.settings", "pubsub", os.cpu_count() or 1, False),
    "documented": ("documented.settings", "core", 1, True),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="tuned")
    parser.add_argument("--redis", required=True, help="redis://127.0.0.1:PORT/0")
    parser.add_argument("--data-dir", required=True, type=pathlib.Path)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--postgres-port", type=int, help="of a PostgreSQL that trusts this machine")
    parser.add_argument("--workers", type=int, help="processes [default: one per core; documented: 1]")
    parser.add_argument("--layer", choices=["pubsub", "core"], help="[default: pubsub; documented: core]")
    parser.add_argument("--api-key", default=secrets.token_hex(16))
    given = parser.parse_args()
    given.settings, layer, workers, postgres = SHAPES[given.shape]
    given.layer, given.workers = given.layer or layer, given.workers or workers
    if postgres != (given.postgres_port is not None):
        parser.error("--postgres-port belongs to the documented shape, which needs it")
    given.database = str(given.postgres_port if postgres else given.data_dir / "peer.sqlite3")
    return given


def version(layer: str, postgres: bool) -> str:
    names = ["django", "channels", "channels-redis", "uvicorn"] + ["psycopg"] * postgres
    all_names = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"{all_names}, Python {platform.python_version()}, layer {layer}"


def make_tables():
    """In a process of its own: this one must not keep connections that it does not use."""
    migrate = ["-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"]
    subprocess.run([sys.executable, *migrate], check=True, stdout=sys.stderr)


def announce(base: str, workers: int, ready: dict, data_dir: pathlib.Path):
    """Waits until every worker answers: what one of them still loads would slow the others."""
    seen = set()
    while len(seen) < workers:
        try:
            seen.add(urllib.request.urlopen(f"{base}/readyz", timeout=5).read())
        except OSError:
            pass
        time.sleep(0.005)
    line = json.dumps(ready)
    (data_dir / "up.json").write_text(line)
    print(line, flush=True)


def main():
    given = arguments()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", given.port))
    listener.listen(4096)
    address = "{}:{}".format(*listener.getsockname())
    edge_ws = f"ws://{address}/connection/websocket"
    os.environ.update(
        DJANGO_SETTINGS_MODULE=given.settings,
        PEER_API_KEY=given.api_key,
        PEER_TOKEN_KEY=secrets.token_hex(32),
        PEER_EDGE_WS=edge_ws,
        PEER_DATABASE=given.database,
        PEER_REDIS=given.redis,
        PEER_LAYER=given.layer,
        PYTHONPATH=str(HERE),
    )
    os.chdir(HERE)
    make_tables()
    ready = {
        "schema_version": 1,
        "pid": os.getpid(),
        "nats_pid": None,
        "gateway": f"http://{address}",
        "edge_ws": edge_ws,
        "api_key": given.api_key,
        "durability": "none",
        "version": version(given.layer, given.postgres_port is not None),
    }
    threading.Thread(
        target=announce, args=(f"http://{address}", given.workers, ready, given.data_dir), daemon=True
    ).start()
    uvicorn.run(
        "notify.asgi:application",
        fd=listener.fileno(),
        workers=given.workers,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_keep_alive=300,
        backlog=4096,
    )


if __name__ == "__main__":
    main()
