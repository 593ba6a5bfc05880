"""The HTTP side: check the key, insert the row, tell the channel layer, answer 202.

Reads: requests. Writes: one row and one message to the user's group each. Never: goes through a task queue for
what belongs to a browser; the paper's stack needs one for e-mail only.
"""

import os
import secrets
import time

import jwt
import orjson
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.http import HttpResponse

from notify.groups import channel_of, group_of
from notify.models import Notification

BEARER = f"Bearer {settings.API_KEY}"

# A pool of threads that keep their connections; the default is a new thread and connection per request.
insert = sync_to_async(Notification.objects.create, thread_sensitive=False)


def answer(status: int, body: object) -> HttpResponse:
    return HttpResponse(orjson.dumps(body), status=status, content_type="application/json")


def allowed(request) -> bool:
    given = request.headers.get("authorization", "")
    return secrets.compare_digest(given.encode(), BEARER.encode())


async def ready(request) -> HttpResponse:
    # Which worker: all of them are waited for.
    return HttpResponse(str(os.getpid()))


async def tokens(request) -> HttpResponse:
    if not allowed(request):
        return answer(401, {"title": "wrong key"})
    wanted = orjson.loads(request.body)
    claims = {"sub": wanted["user"], "exp": int(time.time()) + wanted.get("ttl_seconds", 3600)}
    token = jwt.encode(claims, settings.SECRET_KEY, algorithm="HS256")
    channel = channel_of(wanted["user"])
    return answer(200, {"token": token, "ws_url": settings.EDGE_WS, "channel": channel})


async def notifications(request) -> HttpResponse:
    if not allowed(request):
        return answer(401, {"title": "wrong key"})
    try:
        wanted = orjson.loads(request.body)
        to, content = wanted["to"], wanted["content"]
        users = [name_of(one) for one in (to if isinstance(to, list) else [to])]
        title, body = content["title"], content["body"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return answer(400, {"title": "recipients with an id and inline content are needed"})
    uid = "ntf_" + secrets.token_hex(16)
    data = {"type": "notification", "notification_id": uid, "title": title, "body": body}
    layer = get_channel_layer()
    for user in users:
        row = await insert(uid=uid, user=user, title=title, body=body)
        push = {"channel": channel_of(user), "pub": {"data": data, "offset": row.pk}}
        # Encoded once here, not once in every consumer.
        frame = orjson.dumps({"push": push}).decode()
        await layer.group_send(group_of(user), {"type": "push.frame", "frame": frame})
    return answer(202, {"id": uid, "status": "accepted"})


def name_of(recipient) -> str:
    return recipient if isinstance(recipient, str) else recipient["id"]
