"""The WebSocket side: as much of the Centrifuge protocol as the load test's receivers need.

Reads: the connect command, the channel layer. Writes: frames. Never: recovers: what was sent while a client was
away, or while Redis was, is in the table only.
"""

import asyncio

import jwt
import orjson
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from notify.groups import channel_of, group_of

PING_SECONDS = 25


class Bell(AsyncWebsocketConsumer):
    group = None
    pinging = None

    async def connect(self):
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        if self.group is not None or text_data is None:
            return  # a pong
        command = orjson.loads(text_data)
        try:
            claims = jwt.decode(
                command["connect"]["token"], settings.SECRET_KEY, algorithms=["HS256"]
            )
        except jwt.InvalidTokenError:
            await self.close(code=3500)
            return
        self.group = group_of(claims["sub"])
        await self.channel_layer.group_add(self.group, self.channel_name)
        reply = {
            "client": self.channel_name,
            "version": "django",
            "ping": PING_SECONDS,
            "pong": True,
            "subs": {channel_of(claims["sub"]): {}},
        }
        await self.send(orjson.dumps({"id": command["id"], "connect": reply}).decode())
        self.pinging = asyncio.create_task(self.ping())

    async def ping(self):
        while True:
            await asyncio.sleep(PING_SECONDS)
            await self.send("{}")

    async def push_frame(self, event):
        await self.send(event["frame"])

    async def disconnect(self, code):
        if self.pinging is not None:
            self.pinging.cancel()
        if self.group is not None:
            await self.channel_layer.group_discard(self.group, self.channel_name)
