"""What the desk is told at its start, on the command line or in the environment."""

import argparse
import os
from pathlib import Path


def is_on(text):
    """A switch in the environment."""
    return text.strip().lower() not in ("", "0", "false", "no", "n", "f", "off")


def parse(arguments=None):
    """The options; ends the program with a message if one makes no sense."""
    parser = argparse.ArgumentParser(
        prog="campana-support", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )

    def option(flag, variable, default, about, kind=str):
        value = os.environ.get(variable)
        parser.add_argument(flag, type=kind, default=value if value else default, help=f"{about} ({variable})")

    option("--listen", "CAMPANA_SUPPORT_LISTEN", "127.0.0.1:8092", "where the pages are served")
    option("--app-port", "CAMPANA_SUPPORT_APP_PORT", 3092, "where the sidecar finds the desk, on 127.0.0.1", int)
    option("--sidecar-url", "CAMPANA_SIDECAR_URL", "http://127.0.0.1:3500", "where the desk finds the sidecar")
    option("--data-dir", "CAMPANA_DATA_DIR", "campana-data", "where the SQLite file lies", Path)
    option("--api-url", "CAMPANA_API_URL", "", "the notification gateway; without it nobody gets e-mails")
    option("--edge-url", "CAMPANA_EDGE_URL", "", "where browsers reach the edge; without it pages ask every 3 s")
    option("--edge-api-url", "CAMPANA_EDGE_API_URL", "", "the edge's server API, http://host:port")
    option("--public-url", "CAMPANA_SUPPORT_URL", "", "what e-mails link to")
    option("--unread-seconds", "CAMPANA_SUPPORT_UNREAD_SECONDS", 120, "an answer unread for so long is mailed", int)
    option("--requests-per-second", "CAMPANA_SUPPORT_RATE", 5.0, "requests of one address that change something", float)
    parser.add_argument("--demo", action="store_true", default=is_on(os.environ.get("CAMPANA_DEMO", "")),
                        help="make accounts whose passwords the login page shows (CAMPANA_DEMO)")
    parser.add_argument("--add-agent", metavar="NAME",
                        help="make an account, or change its password: reads it from standard input, and ends")
    options = parser.parse_args(arguments)
    # Secrets come by the environment alone: other users can read a command line.
    options.api_key = os.environ.get("CAMPANA_API_KEY", "")
    options.edge_secret = os.environ.get("CAMPANA_EDGE_SECRET", "")
    options.edge_api_key = os.environ.get("CAMPANA_EDGE_API_KEY", "")
    host, _, port = options.listen.rpartition(":")
    if not host or not port.isdigit():
        parser.error("--listen is host:port")
    options.address = (host, int(port))
    options.live = bool(options.edge_url and options.edge_secret and options.edge_api_url and options.edge_api_key)
    return options
