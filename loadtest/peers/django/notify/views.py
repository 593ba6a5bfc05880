"""The HTTP side: check the key, insert the row, tell the channel layer, answer 202.

Reads: requests. Writes: one row and one message to the user's group each. Never: goes through a task queue for
what belongs to a browser; the paper's stack needs one for e-mail only.
"""

import os
import time

import jwt
import orjson
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.http import HttpResponse

from notify.frames import frame_of
from notify.groups import channel_of, group_of
from notify.models import Notification
from notify.requests import allowed, new_uid, wanted

# A pool of threads that keep their connections; the default is a new thread and connection per request.
insert = sync_to_async(Notification.objects.create, thread_sensitive=False)


def answer(status: int, body: object) -> HttpResponse:
    return HttpResponse(orjson.dumps(body), status=status, content_type="application/json")


async def ready(request) -> HttpResponse:
    # Which worker: all of them are waited for.
    return HttpResponse(str(os.getpid()))


async def tokens(request) -> HttpResponse:
    if not allowed(request):
        return answer(401, {"title": "wrong key"})
    asked = orjson.loads(request.body)
    claims = {"sub": asked["user"], "exp": int(time.time()) + asked.get("ttl_seconds", 3600)}
    token = jwt.encode(claims, settings.SECRET_KEY, algorithm="HS256")
    channel = channel_of(asked["user"])
    return answer(200, {"token": token, "ws_url": settings.EDGE_WS, "channel": channel})


async def notifications(request) -> HttpResponse:
    if not allowed(request):
        return answer(401, {"title": "wrong key"})
    asked = wanted(request)
    if asked is None:
        return answer(400, {"title": "recipients with an id and inline content are needed"})
    users, title, body = asked
    uid = new_uid()
    layer = get_channel_layer()
    for user in users:
        row = await insert(uid=uid, user=user, title=title, body=body)
        # Encoded once here, not once in every consumer.
        message = {"type": "push.frame", "frame": frame_of(row)}
        await layer.group_send(group_of(user), message)
    return answer(202, {"id": uid, "status": "accepted"})
