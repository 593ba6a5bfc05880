"""What the sidecar brings: the declaration of what the desk wants, and what it does with each event."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from .checks import Body, Wrong, parse, request_of_event
from .outside import Away, Caller
from .server import log_without_values
from .store import Store

DECLARATION: dict[str, Any] = {
    "subscriptions": [
        {
            # Pages are told of every change, in the order of each ticket.
            "name": "support-live",
            "path": "/deliveries/live",
            "events": [
                {"service": "support", "event": event}
                for event in ("ticket_opened", "message_posted", "ticket_claimed", "ticket_returned", "ticket_closed")
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
    """Handles events; each method returns the status that tells the sidecar what becomes of the message."""

    def __init__(self, store: Store, edge: Caller | None, gateway: Caller | None, public_url: str) -> None:
        self.store, self.edge, self.gateway, self.public_url = store, edge, gateway, public_url
        self.paths: dict[str, Callable[[Body, str], int]] = {
            "/deliveries/live": self.live, "/deliveries/requests": self.request, "/deliveries/letters": self.letter,
        }

    def handle(self, path: str, headers: Mapping[str, str], raw: bytes) -> int:
        """204: done. 422: parked, it will not get better. 503: again, later."""
        handler = self.paths.get(path)
        if handler is None:
            return 404
        source, number = headers.get("ce-source"), headers.get("ce-id")
        if not source or not number:
            return 422  # what has no name cannot be recognised when it comes again
        try:
            event = parse(raw)
        except ValueError:
            log.warning("an event is parked: it is not a JSON object")
            return 422
        try:
            return handler(event, f"{source} {number}")
        except Wrong as wrong:
            log.warning("an event is parked: %s", wrong)
            return 422
        except Away as error:
            log.warning("an event is tried again: %s", error)
            return 503
        except (ValueError, KeyError, TypeError) as error:
            log_without_values(error)
            return 422

    def live(self, event: Body, message: str) -> int:
        """Tells pages where something is new; what it is they ask the desk, which knows who may see it."""
        ticket = self.store.ticket(event["ticket"])
        if self.edge is None or ticket is None:
            return 204
        data = {"ticket": ticket["id"], "seq": ticket["last_seq"], "status": ticket["status"]}
        for channel in (channel_of(ticket["id"]), DESK):
            body = {"channel": channel, "data": data, "idempotency_key": f"{message} {channel}"}
            status, answer = self.edge.post("/api/publish", body)
            error = answer.get("error") if isinstance(answer, dict) else "no answer"
            if status != 200 or error:
                raise Away(f"the edge answered {status} {error or ''}")
        return 204

    def request(self, event: Body, message: str) -> int:
        """Another service asks for a ticket."""
        self.store.open_ticket(**request_of_event(event), seen=message)
        return 204

    def letter(self, event: Body, _message: str) -> int:
        """Some time after an answer: was it read?"""
        ticket = self.store.ticket(event["ticket"])
        if self.gateway is None or ticket is None or not ticket["email"]:
            return 204
        if ticket["customer_seen"] >= event["seq"] or self.store.last_answer(ticket["id"]) != event["seq"]:
            return 204  # it was, or a later answer has its own letter
        # Behind the #, where no server's log and no next page's server sees it.
        address = f"{self.public_url.rstrip('/')}/#ticket={ticket['id']}&link={ticket['link']}"
        link = f"\n\n{address}" if self.public_url else ""
        text = TEXTS[ticket["locale"]].format(name=ticket["name"], subject=ticket["subject"], link=link)
        body = {
            "to": {"id": f"support-{ticket['id']}", "email": ticket["email"]}, "channels": ["email"],
            "content": {"title": SUBJECTS[ticket["locale"]], "body": text},
        }
        key = {"Idempotency-Key": f"support-{ticket['id']}-{event['seq']}"}
        status, _ = self.gateway.post("/v1/notifications", body, key)
        if status in (400, 422):
            log.warning("a letter is parked: the gateway answered %d", status)
            return 422
        if status != 202:
            raise Away(f"the gateway answered {status}")
        return 204


#: Where agents see that something waits.
DESK = "support:desk"


def channel_of(ticket: str) -> str:
    """A ticket's channel."""
    return f"support:{ticket}"
