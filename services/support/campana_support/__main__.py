"""The program: opens the tables, starts both servers and the relay, and ends cleanly at SIGTERM."""

import logging
import signal
import sqlite3
import sys
import threading
import time

from . import auth, checks, options as opts
from .app import AppHandler
from .deliveries import DECLARATION, Deliveries
from .desk import Desk
from .outside import Caller
from .options import Options
from .pages import Pages
from .rate import Rate
from .relay import Relay
from .server import Server
from .store import Store
from .web import Handler

#: Requests in hand get so long at the end.
DRAIN_SECONDS = 5
TIDY_SECONDS = 3_600
DEMO = [("lucia", "Lucía", "demo-lucia"), ("sam", "Sam", "demo-sam")]

log = logging.getLogger("support")


def demo_accounts(store: Store) -> list[dict[str, str]]:
    """Accounts that anybody may try. They are left as they are if they are there, so that a restart ends no session."""
    for name, shown, password in DEMO:
        if store.agent(name) is None:
            store.put_agent(name, shown, auth.hash_password(password))
    return [{"name": name, "shown": shown, "password": password} for name, shown, password in DEMO]


def no_demo_accounts(store: Store) -> None:
    """Everybody knows their passwords: a desk that was a demonstration before gives them up."""
    for name, _, password in DEMO:
        account = store.agent(name)
        if account is not None and auth.is_password(password, account["password"]):
            store.remove_agent(name)
            log.warning("the demonstration's account %s is removed", name)


def change_accounts(store: Store, options: Options) -> None:
    """What the command line asks for instead of a desk; ends the program with a message if it makes no sense."""
    if options.remove_agent is not None and not store.remove_agent(options.remove_agent):
        sys.exit("there is no such agent")
    if options.add_agent is not None:
        try:
            name = checks.text({"name": options.add_agent}, "name", checks.NAME_MAX)
        except checks.Wrong as wrong:
            sys.exit(f"this is no name of an account: {wrong.code}")
        password = sys.stdin.readline().rstrip("\n")
        if len(password.encode()) not in checks.PASSWORD_BYTES:
            sys.exit("a password of 8 to 128 bytes is read from standard input")
        store.put_agent(name, name, auth.hash_password(password))


def servers(store: Store, options: Options, accounts: list[dict[str, str]]) -> tuple[Server, Server]:
    """The sidecar's and the browsers'."""
    edge = Caller(options.edge_api_url, {"X-API-Key": options.edge_api_key}) if options.live else None
    gateway = None
    if options.api_url and options.api_key:
        gateway = Caller(options.api_url, {"Authorization": f"Bearer {options.api_key}"})
    deliveries = Deliveries(store, edge, gateway, options.public_url)
    app = Server(("127.0.0.1", options.app_port), AppHandler,
                 store=store, deliveries=deliveries, declaration=DECLARATION, token=options.app_token)
    rate = options.requests_per_second
    pages = Server(options.address, Handler, store=store, pages=Pages(options.edge_url),
                   desk=Desk(store, options, accounts), rate=Rate(rate, max(1, rate * 8)),
                   opens=Rate(rate / 10, max(1, rate * 4)), sign_ins=Rate(0.2, 10))
    return app, pages


def tidy(store: Store) -> None:
    """A table that is busy is tidied the next time."""
    try:
        store.tidy()
    except sqlite3.Error as error:
        log.warning("what has ended is not removed: %s", error)


def main() -> None:
    """Runs until SIGTERM."""
    options = opts.parse()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    store = Store(options.data_dir / "support.db")
    if options.add_agent is not None or options.remove_agent is not None:
        change_accounts(store, options)
        return
    if not options.demo:
        no_demo_accounts(store)
    app, pages = servers(store, options, demo_accounts(store) if options.demo else [])
    headers = {"campana-api-token": options.sidecar_token} if options.sidecar_token else {}
    relay = Relay(store, Caller(options.sidecar_url, headers))
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    for server in (app, pages):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    relay.start()
    log.info("the desk is open at http://%s:%d/, the sidecar finds it at port %d",
             *pages.server_address[:2], app.server_address[1])
    tidy(store)
    while not stopping.wait(TIDY_SECONDS):
        tidy(store)
    # No new requests; those in hand end, and what they told goes out. What does not is in the table.
    pages.stop()
    app.stop()
    end = time.monotonic() + DRAIN_SECONDS
    while pages.working + app.working and time.monotonic() < end:
        time.sleep(0.02)
    relay.stop(DRAIN_SECONDS)
    store.close()
    log.info("the desk is closed")


if __name__ == "__main__":
    main()
