"""What the desk is told at its start, on the command line or in the environment."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """All of it."""

    address: tuple[str, int]
    app_port: int
    app_token: str
    sidecar_url: str
    sidecar_token: str
    data_dir: Path
    api_url: str
    api_key: str
    edge_url: str
    edge_secret: str
    edge_api_url: str
    edge_api_key: str
    public_url: str
    unread_seconds: int
    requests_per_second: float
    demo: bool
    add_agent: str | None
    remove_agent: str | None

    @property
    def live(self) -> bool:
        """Whether pages hear of news over the edge."""
        return bool(self.edge_url and self.edge_secret and self.edge_api_url and self.edge_api_key)


def is_on(text: str) -> bool:
    """A switch in the environment."""
    return text.strip().lower() not in ("", "0", "false", "no", "n", "f", "off")


def between(kind: Callable[[str], float], least: float, most: float) -> Callable[[str], float]:
    """A number within bounds."""
    def number(text: str) -> float:
        value = kind(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least} and {most}")
        return value
    return number


def host_and_port(text: str) -> tuple[str, int]:
    """Where to listen."""
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"{text} is not host:port")
    return host, int(port)


def parse(arguments: list[str] | None = None) -> Options:
    """The options; ends the program with a message if one makes no sense."""
    parser = argparse.ArgumentParser(
        prog="campana-support", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )

    def option(flag: str, variable: str, default: str, about: str, kind: Callable[[str], object] = str) -> None:
        value = os.environ.get(variable)
        parser.add_argument(flag, type=kind, default=value if value else default, help=f"{about} ({variable})")

    port, seconds, rate = between(int, 0, 65_535), between(int, 0, 86_400), between(float, 0.01, 1e6)
    option("--listen", "CAMPANA_SUPPORT_LISTEN", "127.0.0.1:8092", "where the pages are served", host_and_port)
    option("--app-port", "CAMPANA_SUPPORT_APP_PORT", "3092", "where the sidecar finds the desk, on 127.0.0.1", port)
    option("--sidecar-url", "CAMPANA_SIDECAR_URL", "http://127.0.0.1:3500", "where the desk finds the sidecar")
    option("--data-dir", "CAMPANA_DATA_DIR", "campana-data", "where the SQLite file lies", Path)
    option("--api-url", "CAMPANA_API_URL", "", "the notification gateway; without it nobody gets e-mails")
    option("--edge-url", "CAMPANA_EDGE_URL", "", "where browsers reach the edge; without it pages ask every 3 s")
    option("--edge-api-url", "CAMPANA_EDGE_API_URL", "", "the edge's server API, http://host:port")
    option("--public-url", "CAMPANA_SUPPORT_URL", "", "what e-mails link to")
    option("--unread-seconds", "CAMPANA_SUPPORT_UNREAD_SECONDS", "120", "an answer unread for so long is mailed", seconds)
    option("--requests-per-second", "CAMPANA_SUPPORT_RATE", "5", "requests of one address that change something", rate)
    parser.add_argument("--demo", action="store_true", default=is_on(os.environ.get("CAMPANA_DEMO", "")),
                        help="make accounts whose passwords the login page shows (CAMPANA_DEMO)")
    parser.add_argument("--add-agent", metavar="NAME",
                        help="make an account, or change its password: reads it from standard input, and ends")
    parser.add_argument("--remove-agent", metavar="NAME",
                        help="remove an account: its sessions end, its tickets wait for anybody; and ends")
    found = vars(parser.parse_args(arguments))
    found["address"] = found.pop("listen")
    # Secrets come by the environment alone: other users can read a command line.
    secrets = {
        "app_token": "CAMPANA_SUPPORT_APP_TOKEN", "sidecar_token": "CAMPANA_SIDECAR_TOKEN", "api_key": "CAMPANA_API_KEY",
        "edge_secret": "CAMPANA_EDGE_SECRET", "edge_api_key": "CAMPANA_EDGE_API_KEY",
    }
    found |= {name: os.environ.get(variable, "") for name, variable in secrets.items()}
    return Options(**found)
