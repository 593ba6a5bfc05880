"""Parts without tables and sockets; and the accounts of the command line."""

import contextlib
import io
import re
from unittest import TestCase, mock

from campana_support import auth, checks
from campana_support.__main__ import DEMO, change_accounts, demo_accounts, no_demo_accounts
from campana_support.options import parse
from campana_support.rate import ADDRESSES_MAX, Rate

from .case import TICKET, Case, options


class Pure(TestCase):
    def test_fields_have_bounds(self):
        self.assertEqual(checks.ticket({**TICKET, "name": " Ana "})["name"], "Ana")
        for field, value, code in (
            ("name", "", "empty"), ("name", "x" * 81, "too_long"), ("name", 1, "wrong_type"),
            ("name", "a\nb", "unknown_value"), ("name", "a\u202eb", "unknown_value"),
            ("name", "a\x9bb", "unknown_value"),
            ("email", "ana", "invalid_email"), ("email", "a@b.c d", "invalid_email"), ("locale", "fr", "unknown_value"),
            ("locale", [], "unknown_value"), ("text", "x" * 4_001, "too_long"), ("text", "\ud800", "unknown_value"),
        ):
            with self.assertRaises(checks.Wrong) as raised:
                checks.ticket({**TICKET, field: value})
            self.assertEqual((raised.exception.pointer, raised.exception.code), (f"/{field}", code))
        self.assertEqual(checks.ticket({**TICKET, "text": "[[[[\n\t[[["})["text"], "[[[[\n\t[[[")
        for key in ("k" * 15, "k" * 65, "k" * 16 + "\n", "k k" * 8, 7, None):
            with self.assertRaises(checks.Wrong):
                checks.key({"key": key})

    def test_numbers_of_tickets_are_not_those_of_events(self):
        asked = checks.request_of_event({"reference": "k" * 16, **TICKET})
        self.assertNotEqual(asked["ticket"], checks.number_of("k" * 16))
        self.assertRegex(asked["ticket"], re.compile(r"^t[0-9a-f]{32}$"))

    def test_a_bucket_fills_again(self):
        rate = Rate(1, 3)
        self.assertEqual([rate.admits("a", 0) for _ in range(4)], [True, True, True, False])
        self.assertTrue(rate.admits("b", 0))
        self.assertTrue(rate.admits("a", 1))
        # Who has a network of addresses has one share; mapped addresses are those of IPv4.
        rate = Rate(1, 1)
        self.assertEqual([rate.admits(f"2001:db8::{n}", 0) for n in range(3)], [True, False, False])
        self.assertEqual([rate.admits(f"::ffff:10.0.0.{n}", 0) for n in range(3)], [True, True, True])

    def test_buckets_have_a_bound(self):
        rate = Rate(1, 3)
        admitted = [rate.admits(f"address-{n}", 0) for n in range(ADDRESSES_MAX + 5)]
        self.assertEqual((len(rate.buckets), admitted[-1]), (ADDRESSES_MAX, False))
        self.assertTrue(rate.admits("late", 10))

    def test_a_password_is_not_kept(self):
        stored = auth.hash_password("correct horse")
        self.assertNotIn("horse", stored)
        self.assertTrue(auth.is_password("correct horse", stored))
        self.assertFalse(auth.is_password("wrong", stored))

    def test_options_that_make_no_sense_are_refused(self):
        self.assertEqual(parse(["--listen", "[::1]:80"]).address, ("[::1]", 80))
        for wrong in (["--listen", "8092"], ["--listen", "x:99999"], ["--app-port", "-1"], ["--unread-seconds", "-1"],
                      ["--requests-per-second", "0"], ["--requests-per-second", "nan"]):
            with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
                parse(wrong)


class Accounts(Case):
    def test_a_desk_that_was_a_demonstration_gives_its_accounts_up(self):
        self.store.remove_agent("sam")
        self.store.remove_agent("lucia")
        self.assertEqual(len(demo_accounts(self.store)), len(DEMO))
        self.store.put_agent("lucia", "Lucía", auth.hash_password("a password of her own"))
        no_demo_accounts(self.store)
        self.assertIsNone(self.store.agent("sam"))
        self.assertIsNotNone(self.store.agent("lucia"))

    def test_accounts_of_the_command_line(self):
        def add(name, password):
            with mock.patch("sys.stdin", io.StringIO(f"{password}\n")):
                change_accounts(self.store, options(add_agent=name))
        add("zoe", "12345678")
        self.assertTrue(auth.is_password("12345678", self.store.agent("zoe")["password"]))
        for name, password in (("zoe", "1234567"), ("zoe", "x" * 129), ("", "12345678"), ("a\nb", "12345678")):
            with self.assertRaises(SystemExit):
                add(name, password)
        change_accounts(self.store, options(remove_agent="zoe"))
        with self.assertRaises(SystemExit):
            change_accounts(self.store, options(remove_agent="zoe"))
