"""The program: opens the tables, starts both servers and the relay, and ends cleanly at SIGTERM."""

import logging
import signal
import sys
import threading
import time

from . import auth, options as opts
from .deliveries import DECLARATION, Deliveries
from .desk import Desk
from .outside import Caller
from .pages import Pages
from .rate import Rate
from .relay import TIDY_SECONDS, Relay
from .store import Store
from .web import AppHandler, Handler, Server

#: Requests in hand get so long at the end.
DRAIN_SECONDS = 5
DEMO = [("lucia", "Lucía", "demo-lucia"), ("sam", "Sam", "demo-sam")]

log = logging.getLogger("support")


def demo_accounts(store):
    """Accounts that anybody may try. They are left as they are if they are there, so that a restart ends no session."""
    for name, shown, password in DEMO:
        if store.agent(name) is None:
            store.put_agent(name, shown, auth.hash_password(password))
    return [{"name": name, "shown": shown, "password": password} for name, shown, password in DEMO]


def main():
    options = opts.parse()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    store = Store(options.data_dir / "support.db")
    if options.add_agent:
        password = sys.stdin.readline().rstrip("\n")
        if not 8 <= len(password.encode()) <= auth.PASSWORD_BYTES_MAX:
            sys.exit("a password of 8 to 128 bytes is read from standard input")
        store.put_agent(options.add_agent, options.add_agent, auth.hash_password(password))
        return
    accounts = demo_accounts(store) if options.demo else []
    edge = Caller(options.edge_api_url, {"X-API-Key": options.edge_api_key}) if options.live else None
    gateway = None
    if options.api_url and options.api_key:
        gateway = Caller(options.api_url, {"Authorization": f"Bearer {options.api_key}"})
    deliveries = Deliveries(store, edge, gateway, options.public_url)
    app = Server(("127.0.0.1", options.app_port), AppHandler,
                 store=store, deliveries=deliveries, declaration=DECLARATION)
    pages = Server(options.address, Handler, store=store, pages=Pages(options.edge_url),
                   desk=Desk(store, options, accounts),
                   rate=Rate(options.requests_per_second, options.requests_per_second * 8),
                   sign_ins=Rate(0.2, 10))
    relay = Relay(store, Caller(options.sidecar_url))
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    for server in (app, pages):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    relay.start()
    log.info("the desk is open at http://%s:%d/, the sidecar finds it at port %d",
             *pages.server_address[:2], app.server_address[1])
    while not stopping.wait(TIDY_SECONDS):
        store.tidy()
    # No new requests; those in hand end, and what they told goes out. What does not is in the table.
    pages.stop()
    app.stop()
    end = time.monotonic() + DRAIN_SECONDS
    while pages.working + app.working and time.monotonic() < end:
        time.sleep(0.02)
    relay.stop()
    store.close()
    log.info("the desk is closed")


if __name__ == "__main__":
    main()
