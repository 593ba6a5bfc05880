"""What the pages ask: one function for each request, from what was sent to status and answer."""

from collections.abc import Mapping
from typing import Any, Protocol

from . import auth, checks
from .database import Row, digest
from .deliveries import DESK, channel_of
from .options import Options
from .server import Refused
from .store import Denied, Store

CUSTOMER, AGENT = "support_customer", "support_agent"
#: Carries the secret of a letter's link; a header, so that no foreign page can send it.
LINK = "Support-Link"
TITLES = {
    "claim_first": "Claim the ticket first",
    "ticket_closed": "The ticket is closed",
    "ticket_full": "The ticket has no room for more: open another one",
}

Answer = tuple[int, Any]


class Request(Protocol):
    """What the desk needs of a request."""

    cookies: dict[str, str]
    headers: Mapping[str, str]
    json: checks.Body
    query: dict[str, str]

    def query_number(self, name: str) -> int: ...

    def set_cookie(self, name: str, value: str, seconds: int) -> None: ...


def not_found() -> Refused:
    """Also for what somebody may not see: others are not told that it exists."""
    return Refused(404, "not_found", "There is no such thing")


def conflict(denied: Denied) -> Refused:
    """The ticket's state does not allow it."""
    return Refused(409, denied.code, TITLES[denied.code])


class Desk:
    """Knows who may do what."""

    def __init__(self, store: Store, options: Options, demo_accounts: list[dict[str, str]]) -> None:
        self.store, self.options, self.demo_accounts = store, options, demo_accounts

    # Who asks

    def customer(self, request: Request) -> str | None:
        """The customer of this browser."""
        token = request.cookies.get(CUSTOMER)
        return self.store.session(token, "customer") if token else None

    def agent(self, request: Request) -> str | None:
        """The account that is signed in."""
        token = request.cookies.get(AGENT)
        return self.store.session(token, "agent") if token else None

    def must_agent(self, request: Request) -> str:
        """The account that is signed in; nobody else goes on."""
        agent = self.agent(request)
        if agent is None:
            raise Refused(401, "unauthorized", "Sign in first")
        return agent

    def must_see(self, request: Request, number: str) -> tuple[Row, str | None]:
        """The ticket, and the agent who asks; `None` if it is the customer, by session or by a letter's link."""
        ticket = self.store.ticket(number)
        if ticket is None:
            raise not_found()
        customer = self.customer(request)
        if customer is not None and customer == ticket["customer"]:
            return ticket, None
        link = request.headers.get(LINK)
        if link and auth.same_secret(link, ticket["link"]):
            return ticket, None
        agent = self.agent(request)
        if agent is None:
            raise not_found()
        return ticket, agent

    # Customers

    def open_ticket(self, request: Request) -> Answer:
        """A new ticket. The key is a secret of the page: who repeats it gets the same ticket, and its session."""
        secret = checks.key(request.json)
        wanted = checks.ticket(request.json)
        number = checks.number_of(secret)
        known = self.customer(request)
        customer = known or digest(f"customer {secret}")
        if not self.store.open_ticket(number, customer, **wanted):
            there = self.store.ticket(number)
            if there is None:
                raise not_found()
            customer = there["customer"]
        if known != customer:
            token = auth.new_token()
            seconds = self.store.put_session(token, "customer", customer)
            request.set_cookie(CUSTOMER, token, seconds)
        return 201, {"ticket": number}

    def tickets(self, request: Request) -> Answer:
        """The customer's own, newest first."""
        customer = self.customer(request)
        found = self.store.of_customer(customer) if customer else []
        return 200, {"tickets": [shown(ticket, None) for ticket in found]}

    def seen(self, request: Request, number: str) -> Answer:
        """The customer has read so far; what agents read is not noted."""
        ticket, agent = self.must_see(request, number)
        seq = checks.number(request.json, "seq")
        if agent is None:
            self.store.see(ticket["id"], seq)
        return 200, {}

    # Both

    def ticket(self, request: Request, number: str) -> Answer:
        """A ticket, and what was said in it behind a message."""
        ticket, agent = self.must_see(request, number)
        messages = self.store.messages(ticket["id"], request.query_number("after"))
        return 200, {"ticket": shown(ticket, agent), "messages": messages}

    def post(self, request: Request, number: str) -> Answer:
        """Says something."""
        ticket, agent = self.must_see(request, number)
        text = checks.text(request.json, "text", checks.TEXT_MAX, lines=True)
        key = checks.key(request.json)
        try:
            if agent is None:
                return 201, {"seq": self.store.post_as_customer(ticket["id"], text, key)}
            unread = self.options.unread_seconds
            return 201, {"seq": self.store.post_as_agent(ticket["id"], agent, text, key, unread)}
        except Denied as denied:
            raise conflict(denied) from None

    def close(self, request: Request, number: str) -> Answer:
        """Ends a ticket."""
        ticket, agent = self.must_see(request, number)
        try:
            self.store.finish(ticket["id"], agent)
        except Denied as denied:
            raise conflict(denied) from None
        return 200, {}

    def live(self, request: Request) -> Answer:
        """Where to listen and with which tokens; channels are only given to who may see their ticket."""
        if not self.options.live:
            return 200, {"url": None}
        wanted = request.query.get("ticket")
        if wanted:
            ticket, agent = self.must_see(request, wanted)
            channel, listener = channel_of(ticket["id"]), agent or ticket["customer"]
        else:
            channel, listener = DESK, self.must_agent(request)
        user = "support-" + digest(f"edge {listener}")[:16]
        secret = self.options.edge_secret
        return 200, {
            "url": self.options.edge_url, "channel": channel, "token": auth.jwt(secret, {"sub": user}),
            "channel_token": auth.jwt(secret, {"sub": user, "channel": channel}),
        }

    # Agents

    def sign_in(self, request: Request) -> Answer:
        """Opens an agent's session."""
        name = checks.text(request.json, "name", checks.NAME_MAX)
        password = checks.password(request.json)
        account = self.store.agent(name)
        # The same work for names that do not exist, so that time does not tell them apart.
        good = auth.is_password(password, account["password"] if account else auth.NOBODY)
        if not account or not good:
            raise Refused(401, "unauthorized", "Name or password is wrong")
        token = auth.new_token()
        seconds = self.store.put_session(token, "agent", name)
        request.set_cookie(AGENT, token, seconds)
        return 200, {"agent": account["shown"]}

    def sign_out(self, request: Request) -> Answer:
        """Revokes the session."""
        token = request.cookies.get(AGENT)
        if token:
            self.store.end_session(token)
        request.set_cookie(AGENT, "", 0)
        return 200, {}

    def whoami(self, request: Request) -> Answer:
        """Who is signed in; while nobody is, the demonstration's accounts."""
        agent = self.agent(request)
        account = self.store.agent(agent) if agent else None
        if account is None:
            return 200, {"agent": None, "demo": self.demo_accounts}
        return 200, {"agent": account["shown"], "demo": []}

    def queue(self, request: Request) -> Answer:
        """What is this agent's, and what waits."""
        agent = self.must_agent(request)
        found = self.store.of_agent(agent)
        return 200, {"tickets": [shown(one, agent) for one in found], "waiting": self.store.waiting()}

    def claim(self, request: Request, number: str) -> Answer:
        """Makes a waiting ticket the agent's own."""
        agent = self.must_agent(request)
        if self.store.ticket(number) is None:
            raise not_found()
        if not self.store.claim(number, agent):
            raise Refused(409, "ticket_taken", "Somebody else was quicker")
        return 200, {}

    def give_back(self, request: Request, number: str) -> Answer:
        """Lets another agent have the ticket."""
        agent = self.must_agent(request)
        if self.store.ticket(number) is None:
            raise not_found()
        self.store.give_back(number, agent)
        return 200, {}


def shown(ticket: Row, agent: str | None) -> Row:
    """A ticket as a page may see it: accounts' names, the e-mail address and the letter's link stay here."""
    fields = ("id", "subject", "name", "status", "last_seq", "customer_seen", "created_at", "updated_at")
    page = {field: ticket[field] for field in fields}
    if agent is not None:
        page |= {"locale": ticket["locale"], "mine": ticket["status"] == "claimed" and ticket["agent"] == agent}
    return page
