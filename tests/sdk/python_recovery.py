"""The published Python client against a running edge: connects, lets the server subscribe its personal
channel, collects ``--count`` publications and prints one line of JSON: what came, in the order it came.
With ``--drop-every N`` it breaks its own connection without a word after every N publications; with
``--protobuf`` it speaks Protobuf instead of JSON.
Says ``ready`` on stderr once it is connected for the first time, and ``dropped`` at every break.

    python python_recovery.py --url ws://127.0.0.1:8000/connection/websocket --token <jwt> --count 1000
"""

import argparse
import asyncio
import json
import sys

from centrifuge import Client, ClientEventHandler


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--drop-every", type=int, default=0)
    parser.add_argument("--protobuf", action="store_true")
    parser.add_argument("--timeout-seconds", type=float, default=120)
    return parser.parse_args()


class Collector(ClientEventHandler):
    def __init__(self, count, drop_every):
        self.count = count
        self.drop_every = drop_every
        self.client = None
        self.complete = asyncio.Event()
        self.report = {
            "sdk": "centrifuge-python",
            "data": [],
            "offsets": [],
            "connects": 0,
            "recovered": [],
            "errors": [],
        }

    async def on_connected(self, ctx):
        self.report["connects"] += 1
        if self.report["connects"] == 1:
            print("ready", file=sys.stderr, flush=True)

    async def on_subscribed(self, ctx):
        if ctx.was_recovering:
            self.report["recovered"].append(ctx.recovered)

    async def on_error(self, ctx):
        self.report["errors"].append(f"{ctx.code} {ctx.error}")

    async def on_disconnected(self, ctx):
        if not self.complete.is_set():
            self.report["errors"].append(f"disconnected {ctx.code} {ctx.reason}")
            self.complete.set()

    async def on_publication(self, ctx):
        data = ctx.pub.data
        # Payloads are bytes in Protobuf and values in JSON.
        self.report["data"].append(json.loads(data) if isinstance(data, bytes) else data)
        self.report["offsets"].append(ctx.pub.offset)
        received = len(self.report["data"])
        if received == self.count:
            self.complete.set()
        elif self.drop_every and received % self.drop_every == 0:
            # The client has no public way to lose its connection.
            self.client._conn.transport.abort()
            print("dropped", file=sys.stderr, flush=True)


async def main():
    options = arguments()
    collector = Collector(options.count, options.drop_every)

    async def get_token(_context=None):
        return options.token

    collector.client = Client(
        options.url,
        token=options.token,
        get_token=get_token,
        events=collector,
        use_protobuf=options.protobuf,
        min_reconnect_delay=0.02,
        max_reconnect_delay=0.2,
    )
    await collector.client.connect()
    try:
        await asyncio.wait_for(collector.complete.wait(), options.timeout_seconds)
        # A moment more, so that a message delivered twice would show.
        await asyncio.sleep(0.3)
    except asyncio.TimeoutError:
        collector.report["errors"].append("timeout")
    print(json.dumps(collector.report), flush=True)
    return 0 if len(collector.report["data"]) == options.count else 1


sys.exit(asyncio.run(main()))
