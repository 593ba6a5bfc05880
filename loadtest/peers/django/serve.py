"""Starts the peer: makes the table, binds a port, becomes uvicorn with its workers.

Reads: its arguments. Writes: a database in the folder it is given, and one line of JSON on standard output, in the
shape of `campana up`'s up.json, when requests are answered. Never: starts Redis; that is the caller's.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import secrets
import socket
import threading
import time
import urllib.request

import uvicorn

HERE = pathlib.Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--redis", required=True, help="redis://127.0.0.1:PORT/0")
    parser.add_argument("--data-dir", required=True, type=pathlib.Path)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--layer", choices=["pubsub", "core"], default="pubsub")
    parser.add_argument("--api-key", default=secrets.token_hex(16))
    return parser.parse_args()


def version(layer: str) -> str:
    names = ["django", "channels", "channels-redis", "uvicorn"]
    all_names = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"{all_names}, Python {platform.python_version()}, layer {layer}"


def make_table():
    import django
    from django.db import connection

    django.setup()
    from notify.models import Notification

    if Notification._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Notification)
    connection.close()


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
        DJANGO_SETTINGS_MODULE="notify.settings",
        PEER_API_KEY=given.api_key,
        PEER_TOKEN_KEY=secrets.token_hex(32),
        PEER_EDGE_WS=edge_ws,
        PEER_DATABASE=str(given.data_dir / "peer.sqlite3"),
        PEER_REDIS=given.redis,
        PEER_LAYER=given.layer,
        PYTHONPATH=str(HERE),
    )
    os.chdir(HERE)
    make_table()
    ready = {
        "schema_version": 1,
        "pid": os.getpid(),
        "nats_pid": None,
        "gateway": f"http://{address}",
        "edge_ws": edge_ws,
        "api_key": given.api_key,
        "durability": "none",
        "version": version(given.layer),
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
