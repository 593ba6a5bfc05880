"""What the tests share: a desk with empty tables, and others that answer what a test wants."""

import tempfile
import threading
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

from campana_support.options import Options, parse
from campana_support.outside import Away
from campana_support.store import Store

TICKET = {"name": "Ana", "email": "ana@example.com", "locale": "es", "subject": "Bell", "text": "It is silent."}
FIRST, SECOND = "t" + "0" * 31 + "1", "t" + "0" * 31 + "2"
KEY = "k" * 32


def options(**changed: Any) -> Options:
    """The defaults, with what a test wants."""
    found = vars(parse([]))
    return Options(**{**found, **changed})


class Outside:
    """Somebody whom the desk asks: keeps what was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = list(answers), []

    def post(self, path: str, body: Any, headers: Any = None) -> tuple[int, Any]:
        self.asked.append((path, body, headers))
        status = self.answers.pop(0) if self.answers else 200
        if status is None:
            raise Away("nobody there")
        return status, {}

    def close(self) -> None:
        pass


class Case(unittest.TestCase):
    """A desk's tables."""

    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = Path(self.folder.name) / "support.db"
        self.store = Store(self.path)
        self.addCleanup(self.store.close)
        for name in ("sam", "lucia"):
            self.store.put_agent(name, name.title(), "00:00")

    def open(self, number: str = FIRST, seen: str | None = None, **changed: str) -> bool:
        return self.store.open_ticket(number, "customer", seen=seen, **{**TICKET, **changed})

    def answer(self, text: str = "Shake it.", agent: str = "sam", ticket: str = FIRST) -> int:
        """An agent claims the ticket and answers."""
        self.assertTrue(self.store.claim(ticket, agent))
        return self.store.post_as_agent(ticket, agent, text, KEY, 60)

    def at_once(self, count: int, run: Callable[[int], Any]) -> list[Any]:
        """What threads return that begin at the same moment; an error of one fails the test."""
        barrier, found = threading.Barrier(count), []

        def begin(number: int) -> None:
            try:
                barrier.wait(60)
                found.append(run(number))
            except Exception as error:  # pylint: disable=broad-except
                found.append(error)
            finally:
                self.store.close()

        threads = [threading.Thread(target=begin, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for one in found:
            if isinstance(one, Exception):
                raise one
        self.assertEqual(len(found), count)
        return found
