"""The official CloudEvents SDK for Python at the other end of NATS.

Reads: requests on the subjects below. Writes: replies. Never: touches an attribute itself; what is read and
written is what the SDK says. The SDK has no NATS binding; its HTTP binding has the same headers and encoding,
except that `datacontenttype` travels as `content-type`.

  peer.report      the event in the request, as JSON: {"attributes": {...}, "kind": "json", "data": ...}
  peer.binary      the event in the request, written again in binary mode
  peer.structured  the same in structured mode
"""

import asyncio
import base64
import json
import sys
from datetime import datetime

import nats
from cloudevents.core.bindings.http import HTTPMessage, from_binary, from_structured, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat

FORMAT = JSONFormat()


def read(message):
    headers = {name.lower(): value for name, value in (message.headers or {}).items()}
    incoming = HTTPMessage(headers=headers, body=message.data)
    if headers.get("content-type", "").startswith("application/cloudevents"):
        return from_structured(incoming, FORMAT)
    return from_binary(incoming, FORMAT)


def report(event):
    data = event.get_data()
    kind, shown = "json", data
    if data is None:
        kind = "none"
    elif isinstance(data, str):
        kind = "text"
    elif isinstance(data, (bytes, bytearray)):
        kind, shown = "base64", base64.b64encode(data).decode()
    attributes = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in event.get_attributes().items()
    }
    return json.dumps({"attributes": attributes, "kind": kind, "data": shown}).encode()


async def answer(message):
    try:
        event = read(message)
        if message.subject == "peer.report":
            await message.respond(report(event))
            return
        write = to_binary if message.subject == "peer.binary" else to_structured
        written = write(event, FORMAT)
        await message._client.publish(message.reply, written.body, headers=dict(written.headers))
    except Exception as error:  # the test shows what the SDK did not like
        await message._client.publish(message.reply, str(error).encode(), headers={"peer-error": type(error).__name__})


async def main(url):
    client = await nats.connect(url)
    await client.subscribe("peer.*", cb=answer)
    await client.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1]))
