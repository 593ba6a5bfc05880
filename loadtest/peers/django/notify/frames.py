"""What a browser is sent for a row."""

import orjson

from notify.groups import channel_of


def frame_of(row) -> str:
    data = {
        "type": "notification",
        "notification_id": row.uid,
        "title": row.title,
        "body": row.body,
    }
    push = {"channel": channel_of(row.user), "pub": {"data": data, "offset": row.pk}}
    return orjson.dumps({"push": push}).decode()
