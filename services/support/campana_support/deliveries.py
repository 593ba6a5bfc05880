"""What the sidecar brings: the declaration of what the desk wants, and what it does with each event.

Served on 127.0.0.1 only, on a port of its own, so that no browser can pretend to be the sidecar.
"""

import json
import logging

from .checks import Wrong, request_of_event
from .outside import Away

DECLARATION = {
    "subscriptions": [
        {
            # Pages are told of every change, in the order of each ticket.
            "name": "support-live",
            "path": "/deliveries/live",
            "events": [
                {"service": "support", "event": event}
                for event in ("ticket_opened", "message_posted", "ticket_claimed", "ticket_closed")
            ],
            "ordered": True,
            "max_in_flight": 16,
        },
        {
            # Any service may open a ticket for a customer. The bound is what keeps a flood from taking more than
            # its share of this machine.
            "name": "support-requests",
            "path": "/deliveries/requests",
            "events": [{"service": "support", "event": "ticket_requested"}],
            "max_in_flight": 8,
            "backoff_seconds": 0.2,
        },
        {
            "name": "support-letters",
            "path": "/deliveries/letters",
            "events": [{"service": "support", "event": "answer_unread"}],
            "max_in_flight": 4,
        },
    ]
}

log = logging.getLogger("support.deliveries")

SUBJECTS = {"en": "The support desk has answered you", "es": "El servicio de ayuda te ha respondido"}
TEXTS = {
    "en": "Hello {name},\n\nthere is an answer to \"{subject}\" that you have not read yet.{link}",
    "es": "Hola, {name}:\n\nhay una respuesta a «{subject}» que aún no has leído.{link}",
}


class Deliveries:
    """Handles events; each method returns a status and perhaps a body."""

    def __init__(self, store, edge, gateway, public_url):
        self.store, self.edge, self.gateway, self.public_url = store, edge, gateway, public_url
        self.paths = {
            "/deliveries/live": self.live, "/deliveries/requests": self.request, "/deliveries/letters": self.letter,
        }

    def handle(self, path, headers, body):
        handler = self.paths.get(path)
        if handler is None:
            return 404, None
        message = f"{headers.get('ce-source')} {headers.get('ce-id')}"
        try:
            return handler(json.loads(body), message)
        except (ValueError, KeyError, TypeError):
            return 422, None  # parked: it will not get better
        except Away as error:
            log.warning("an event is tried again: %s", error)
            return 503, None

    def live(self, event, message):
        """Tells pages where something is new; what it is they ask the desk, which knows who may see it."""
        ticket = self.store.ticket(event["ticket"])
        if self.edge is None or ticket is None:
            return 204, None
        data = {"ticket": ticket["id"], "seq": ticket["last_seq"], "status": ticket["status"]}
        for channel in (channel_of(ticket["id"]), DESK):
            body = {"channel": channel, "data": data, "idempotency_key": f"{message} {channel}"}
            status, answer = self.edge.post("/api/publish", body)
            if status != 200 or "error" in answer:
                raise Away(f"the edge answered {status} {(answer or {}).get('error')}")
        return 204, None

    def request(self, event, message):
        """Another service asks for a ticket."""
        try:
            wanted = request_of_event(event)
        except Wrong:
            return 422, None
        self.store.open_ticket(**wanted, seen=message)
        return 204, None

    def letter(self, event, _message):
        """Some time after an answer: was it read?"""
        ticket = self.store.ticket(event["ticket"])
        if self.gateway is None or ticket is None or not ticket["email"] or ticket["status"] == "closed":
            return 204, None
        if ticket["customer_seen"] >= event["seq"] or self.store.last_answer(ticket["id"]) != event["seq"]:
            return 204, None  # it was, or a later answer has its own letter
        link = f"\n\n{self.public_url}" if self.public_url else ""
        text = TEXTS[ticket["locale"]].format(name=ticket["name"], subject=ticket["subject"], link=link)
        body = {
            "to": {"id": f"support-{ticket['id']}", "email": ticket["email"]}, "channels": ["email"],
            "content": {"title": SUBJECTS[ticket["locale"]], "body": text},
        }
        key = {"Idempotency-Key": f"support-{ticket['id']}-{event['seq']}"}
        status, _ = self.gateway.post("/v1/notifications", body, key)
        if status in (400, 422):
            return 422, None
        if status != 202:
            raise Away(f"the gateway answered {status}")
        return 204, None


#: Where agents see that something waits.
DESK = "support:desk"


def channel_of(ticket):
    """A ticket's channel."""
    return f"support:{ticket}"
