"""What the pages ask: one function for each request, from what was sent to status and answer."""

from . import auth, checks
from .checks import Wrong
from .deliveries import DESK, channel_of
from .store import digest

CUSTOMER, AGENT = "support_customer", "support_agent"


class Refused(Exception):
    """A problem on its way to the page."""

    def __init__(self, status, code, title, errors=()):
        super().__init__(code)
        self.status, self.code, self.title, self.errors = status, code, title, list(errors)


def not_found():
    return Refused(404, "not_found", "There is no such thing")


class Desk:
    """Knows who may do what."""

    def __init__(self, store, options, demo_accounts):
        self.store, self.options, self.demo_accounts = store, options, demo_accounts

    # Who asks

    def customer(self, request):
        token = request.cookies.get(CUSTOMER)
        return self.store.session(token, "customer") if token else None

    def agent(self, request):
        token = request.cookies.get(AGENT)
        return self.store.session(token, "agent") if token else None

    def must_agent(self, request):
        agent = self.agent(request)
        if agent is None:
            raise Refused(401, "unauthorized", "Sign in first")
        return agent

    def must_see(self, request, number):
        """The ticket, if it is the customer's own, or an agent asks. Others are not told that it exists."""
        ticket = self.store.ticket(number)
        if ticket is not None:
            customer = self.customer(request)
            if customer is not None and customer == ticket["customer"]:
                return ticket, "customer"
            if self.agent(request) is not None:
                return ticket, "agent"
        raise not_found()

    # Customers

    def open_ticket(self, request):
        """A new ticket. The key is a secret of the page: who repeats it gets the same ticket, and its session."""
        secret = checks.key(request.json)
        wanted = checks.ticket(request.json)
        number = checks.number_of(secret)
        customer = self.customer(request) or digest(f"customer {secret}")
        if not self.store.open_ticket(number, customer, **wanted):
            customer = self.store.ticket(number)["customer"]
        if self.customer(request) != customer:
            token = auth.new_token()
            seconds = self.store.put_session(token, "customer", customer)
            request.set_cookie(CUSTOMER, token, seconds)
        return 201, {"ticket": number}

    def tickets(self, request):
        """The customer's own, newest first."""
        customer = self.customer(request)
        found = self.store.of_customer(customer) if customer else []
        return 200, {"tickets": [shown(ticket, "customer") for ticket in found]}

    def seen(self, request, number):
        ticket, side = self.must_see(request, number)
        if side == "customer":
            self.store.see(ticket["id"], checks.number(request.json, "seq"))
        return 200, {}

    # Both

    def ticket(self, request, number):
        ticket, side = self.must_see(request, number)
        after = request.query_number("after")
        messages = self.store.messages(ticket["id"], after)
        return 200, {"ticket": shown(ticket, side), "messages": messages}

    def post(self, request, number):
        ticket, side = self.must_see(request, number)
        text = checks.text(request.json, "text", checks.TEXT_MAX, lines=True)
        key = checks.key(request.json)
        name = ticket["name"]
        if side == "agent":
            agent = self.agent(request)
            if ticket["agent"] != agent:
                raise Refused(409, "claim_first", "Claim the ticket before you answer it")
            name = self.store.agent(agent)["shown"]
        seq = self.store.post(ticket["id"], side, name, text, key, self.options.unread_seconds)
        if seq is None:
            raise Refused(409, "ticket_closed", "The ticket is closed")
        return 201, {"seq": seq}

    def close(self, request, number):
        ticket, side = self.must_see(request, number)
        if side == "agent" and ticket["agent"] != self.agent(request):
            raise Refused(409, "claim_first", "Claim the ticket before you close it")
        self.store.finish(ticket["id"])
        return 200, {}

    def live(self, request):
        """Where to listen and with which tokens; channels are only given to who may see their ticket."""
        if not self.options.live:
            return 200, {"url": None}
        wanted, agent = request.query.get("ticket"), self.agent(request)
        channel = DESK
        if wanted:
            channel = channel_of(self.must_see(request, wanted)[0]["id"])
        elif agent is None:
            raise Refused(401, "unauthorized", "Sign in first")
        user = "support-" + digest(f"edge {agent or self.customer(request)}")[:16]
        secret = self.options.edge_secret
        return 200, {
            "url": self.options.edge_url, "channel": channel, "token": auth.jwt(secret, {"sub": user}),
            "channel_token": auth.jwt(secret, {"sub": user, "channel": channel}),
        }

    # Agents

    def sign_in(self, request):
        name = checks.text(request.json, "name", checks.NAME_MAX)
        password = request.json.get("password")
        if not isinstance(password, str) or len(password.encode()) > auth.PASSWORD_BYTES_MAX:
            raise Wrong("/password", "out_of_range")
        account = self.store.agent(name)
        # The same work for names that do not exist, so that time does not tell them apart.
        good = auth.is_password(password, account["password"] if account else auth.NOBODY)
        if not account or not good:
            raise Refused(401, "unauthorized", "Name or password is wrong")
        token = auth.new_token()
        seconds = self.store.put_session(token, "agent", name)
        request.set_cookie(AGENT, token, seconds)
        return 200, {"agent": account["shown"]}

    def sign_out(self, request):
        token = request.cookies.get(AGENT)
        if token:
            self.store.end_session(token)
        request.set_cookie(AGENT, "", 0)
        return 200, {}

    def whoami(self, request):
        """Who is signed in; while nobody is, the demonstration's accounts."""
        agent = self.agent(request)
        if agent is None:
            return 200, {"agent": None, "demo": self.demo_accounts}
        return 200, {"agent": self.store.agent(agent)["shown"], "demo": []}

    def queue(self, request):
        """What waits, and what is this agent's."""
        found = self.store.of_agent(self.must_agent(request))
        return 200, {"tickets": [shown(one, "agent") for one in found], "waiting": self.store.waiting()}

    def claim(self, request, number):
        agent = self.must_agent(request)
        if self.store.ticket(number) is None:
            raise not_found()
        if not self.store.claim(number, agent):
            raise Refused(409, "ticket_taken", "Somebody else was quicker")
        return 200, {}


def shown(ticket, side):
    """A ticket as a page may see it: an agent's account name and the e-mail address stay here."""
    fields = ["id", "subject", "name", "status", "last_seq", "customer_seen", "created_at", "updated_at"]
    return {field: ticket[field] for field in fields + (["locale"] if side == "agent" else [])}
