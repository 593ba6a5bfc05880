"""The published Python library for Centrifugo's server API, ``cent``, against two running edges: every method that an
edge has, through the blocking and the asyncio client, and what it makes of errors. Clients of the published
Centrifuge client are connected to the second edge, while the API is asked at the first.
Says ``ok`` for every step on stdout; anything else is an error and ends with 1.

    python server_api.py --api http://127.0.0.1:8000/api --url ws://127.0.0.1:8001/connection/websocket \
        --key <api key> --token <jwt of the user alice>
"""

import argparse
import asyncio
import base64
import json
import time

import cent
from centrifuge import Client, ClientEventHandler

SECONDS = 60


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ["--api", "--url", "--key", "--token"]:
        parser.add_argument(name, required=True)
    return parser.parse_args()


def ok(step):
    print(f"ok {step}", flush=True)


class Follower(ClientEventHandler):
    """Keeps what happens to one connection, in order."""

    def __init__(self):
        self.events = asyncio.Queue()

    async def on_connected(self, ctx):
        await self.events.put(("connected", ctx.client))

    async def on_disconnected(self, ctx):
        await self.events.put(("disconnected", ctx.code))

    async def on_connecting(self, ctx):
        await self.events.put(("connecting", ctx.code))

    async def on_subscribed(self, ctx):
        await self.events.put(("subscribed", ctx.channel))

    async def on_unsubscribed(self, ctx):
        await self.events.put(("unsubscribed", ctx.channel))

    async def on_publication(self, ctx):
        await self.events.put(("publication", (ctx.channel, ctx.pub.data)))

    async def on_message(self, ctx):
        await self.events.put(("message", ctx.data))

    async def until(self, kind, value=None):
        """The next event of this kind, and with this value if one is given."""
        async with asyncio.timeout(SECONDS):
            while True:
                found, what = await self.events.get()
                if found == kind and value in (None, what):
                    return what


class Blocking:
    """The blocking client behind the face of the asyncio one."""

    def __init__(self, client):
        self.client = client

    def __getattr__(self, method):
        call = getattr(self.client, method)
        return lambda request: asyncio.to_thread(call, request)


async def connect(given):
    follower = Follower()
    client = Client(given.url, events=follower, token=given.token)
    await client.connect()
    await follower.until("connected")
    return client, follower


async def refused(code, call):
    try:
        await call
    except cent.CentApiResponseError as error:
        assert error.code == code, error
        return
    raise AssertionError(f"error {code} was expected")


async def publications(api, channel):
    first = await api.publish(
        cent.PublishRequest(channel=channel, data={"n": 1}, tags={"kind": "test"}, idempotency_key="k")
    )
    again = await api.publish(cent.PublishRequest(channel=channel, data={"n": 1}, idempotency_key="k"))
    assert first.offset == again.offset > 0 and first.epoch == again.epoch != ""
    ok("publish")
    raw = base64.b64encode(json.dumps({"n": 2}).encode()).decode()
    answer = await api.broadcast(
        cent.BroadcastRequest(channels=[channel, "nowhere:x"], data=None, b64data=raw)
    )
    assert answer.responses[0].result.offset > first.offset
    assert answer.responses[1].error.code == 102
    ok("broadcast")
    await refused(108, api.publish(cent.PublishRequest(channel=channel, data={}, skip_history=True)))
    await refused(102, api.publish(cent.PublishRequest(channel="nowhere:x", data={})))
    ok("errors")
    history = await api.history(cent.HistoryRequest(channel=channel, limit=10))
    assert [one.data["n"] for one in history.publications] == [1, 2]
    assert history.publications[0].tags["kind"] == "test"
    since = cent.StreamPosition(offset=first.offset, epoch=first.epoch)
    rest = await api.history(cent.HistoryRequest(channel=channel, limit=10, since=since))
    assert [one.data["n"] for one in rest.publications] == [2]
    newest = await api.history(cent.HistoryRequest(channel=channel, limit=1, reverse=True))
    assert newest.publications[0].data == {"n": 2} and newest.offset == history.offset
    ok("history")
    await api.history_remove(cent.HistoryRemoveRequest(channel=channel))
    assert (await api.history(cent.HistoryRequest(channel=channel, limit=10))).publications == []
    ok("history_remove")


async def people(api, given, channel):
    client, follower = await connect(given)
    await api.subscribe(cent.SubscribeRequest(user="alice", channel=channel, data={"why": "test"}))
    await follower.until("subscribed", channel)
    ok("subscribe")
    await api.publish(cent.PublishRequest(channel=channel, data={"n": 3}))
    assert await follower.until("publication") == (channel, {"n": 3})
    ok("a publication on the other node")
    deadline = time.monotonic() + SECONDS
    while len((presence := await api.presence(cent.PresenceRequest(channel=channel))).presence) < 1:
        assert time.monotonic() < deadline, presence
    (name, info), = presence.presence.items()
    assert info.user == "alice" and info.client == name
    ok("presence")
    stats = await api.presence_stats(cent.PresenceStatsRequest(channel=channel))
    assert (stats.num_clients, stats.num_users) == (1, 1)
    ok("presence_stats")
    found = await api.channels(cent.ChannelsRequest(pattern=f"{channel.split(':')[0]}:*"))
    assert found.channels[channel].num_clients == 1
    ok("channels")
    await api.unsubscribe(cent.UnsubscribeRequest(user="alice", channel=channel))
    await follower.until("unsubscribed", channel)
    ok("unsubscribe")
    later = int(time.time()) + 7_200
    await api.refresh(cent.RefreshRequest(user="alice", expire_at=later))
    ok("refresh")
    why = cent.Disconnect(code=4501, reason="the test is over")
    await api.disconnect(cent.DisconnectRequest(user="alice", client=name, disconnect=why))
    assert await follower.until("disconnected") == 4501
    ok("disconnect")


async def the_rest(api, channel):
    info = await api.info(cent.InfoRequest())
    assert len(info.nodes) == 2 and all(node.uid and node.name and node.version for node in info.nodes)
    assert all(node.process.rss > 0 for node in info.nodes)
    ok("info")
    for parallel in [False, True]:
        requests = [
            cent.PublishRequest(channel=channel, data={"n": 4}),
            cent.PresenceStatsRequest(channel=channel),
            cent.InfoRequest(),
        ]
        answer = await api.batch(cent.BatchRequest(requests=requests, parallel=parallel))
        assert answer.replies[0].offset > 0 and answer.replies[1].num_clients == 0
        assert len(answer.replies[2].nodes) == 2
    ok("batch")
    await api.revoke_token(cent.RevokeTokenRequest(uid="a-token-of-nobody"))
    await api.invalidate_user_tokens(cent.InvalidateUserTokensRequest(user="nobody"))
    ok("revocations")


async def everything(api, given, name):
    await publications(api, f"api:{name}")
    await people(api, given, f"api:{name}-people")
    await the_rest(api, f"api:{name}-rest")


async def bad_keys(given):
    stranger = cent.AsyncClient(given.api, "not the key")
    try:
        await stranger.info(cent.InfoRequest())
        raise AssertionError("anybody may use the API")
    except cent.CentUnauthorizedError:
        ok("unauthorized")
    finally:
        await stranger.close()


async def main():
    given = arguments()
    blocking = cent.Client(given.api, given.key, timeout=SECONDS)
    await everything(Blocking(blocking), given, "blocking")
    concurrent = cent.AsyncClient(given.api, given.key, timeout=SECONDS)
    try:
        await everything(concurrent, given, "async")
    finally:
        await concurrent.close()
    await bad_keys(given)
    print("done", flush=True)


asyncio.run(main())
