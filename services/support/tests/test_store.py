"""What the desk keeps: each change once and with its event, whoever else writes at the same time."""

import json
import os
import sqlite3
import stat

from campana_support import schema
from campana_support.database import Database
from campana_support.store import LIST_MAX, MESSAGES_MAX, Denied, Store

from .case import FIRST, KEY, SECOND, Case


class Tickets(Case):
    def test_a_message_has_a_number_and_a_repeat_has_the_same(self):
        self.assertTrue(self.open())
        self.assertFalse(self.open())
        self.assertEqual(self.store.post_as_customer(FIRST, "Hello?", KEY), 2)
        self.assertEqual(self.store.post_as_customer(FIRST, "Hello?", KEY), 2)
        self.assertEqual([one["seq"] for one in self.store.messages(FIRST, 0)], [1, 2])
        self.assertEqual([one["seq"] for one in self.store.messages(FIRST, 1)], [2])
        # An agent's page may choose the same key without getting the customer's number for it.
        self.assertEqual(self.answer(), 3)
        self.assertEqual(self.store.post_as_agent(FIRST, "sam", "Shake it.", KEY, 60), 3)

    def test_every_change_has_its_event_and_no_event_says_what_was_said(self):
        self.open()
        self.answer()
        self.store.give_back(FIRST, "sam")
        self.store.finish(FIRST, None)
        rows = self.store.pending(100)
        self.assertEqual([row["event"] for row in rows],
                         ["ticket_opened", "message_posted", "ticket_claimed", "message_posted", "answer_unread",
                          "ticket_returned", "ticket_closed"])
        self.assertEqual(len({row["event_id"] for row in rows}), len(rows))
        told = json.dumps([row["body"] for row in rows])
        for word in ("silent", "Ana", "Shake"):
            self.assertNotIn(word, told)

    def test_of_many_agents_one_has_a_ticket(self):
        self.open()
        won = self.at_once(8, lambda number: self.store.claim(FIRST, f"agent-{number}"))
        self.assertEqual(won.count(True), 1)
        owner = self.store.ticket(FIRST)["agent"]
        self.assertTrue(self.store.claim(FIRST, owner))
        self.assertEqual([row["event"] for row in self.store.pending(100)].count("ticket_claimed"), 1)

    def test_only_who_has_a_ticket_answers_ends_or_returns_it(self):
        self.open()
        for agent in ("sam", "lucia"):
            with self.assertRaises(Denied) as raised:
                self.store.post_as_agent(FIRST, agent, "Hello", KEY, 60)
            self.assertEqual(raised.exception.code, "claim_first")
        self.assertTrue(self.store.claim(FIRST, "sam"))
        with self.assertRaises(Denied):
            self.store.post_as_agent(FIRST, "lucia", "Hello", KEY, 60)
        with self.assertRaises(Denied):
            self.store.finish(FIRST, "lucia")
        self.store.give_back(FIRST, "lucia")
        self.assertEqual(self.store.ticket(FIRST)["agent"], "sam")
        self.store.give_back(FIRST, "sam")
        with self.assertRaises(Denied):
            self.store.post_as_agent(FIRST, "sam", "Too late", KEY, 60)
        self.assertEqual(self.answer(agent="lucia"), 2)

    def test_a_message_of_the_bus_counts_once(self):
        self.assertTrue(self.open(seen="shop o-1"))
        self.assertFalse(self.open(number=SECOND, seen="shop o-1"))
        self.assertIsNone(self.store.ticket(SECOND))

    def test_a_closed_ticket_takes_nothing_more_but_knows_what_it_had(self):
        self.open()
        self.store.post_as_customer(FIRST, "Hello?", KEY)
        self.store.finish(FIRST, None)
        with self.assertRaises(Denied) as raised:
            self.store.post_as_customer(FIRST, "And?", "x" * 16)
        self.assertEqual(raised.exception.code, "ticket_closed")
        self.assertEqual(self.store.post_as_customer(FIRST, "Hello?", KEY), 2)
        self.assertFalse(self.store.claim(FIRST, "sam"))

    def test_a_ticket_has_an_end(self):
        self.open()
        with self.store.writing() as db:
            db.execute("UPDATE tickets SET last_seq = ?", (MESSAGES_MAX,))
        with self.assertRaises(Denied) as raised:
            self.store.post_as_customer(FIRST, "And?", KEY)
        self.assertEqual(raised.exception.code, "ticket_full")

    def test_an_agent_sees_the_own_tickets_however_many_wait(self):
        self.open()
        self.assertTrue(self.store.claim(FIRST, "sam"))
        for number in range(LIST_MAX + 5):
            self.open(number=f"t{number + 10:032x}")
        self.assertEqual(self.store.of_agent("sam")[0]["id"], FIRST)
        self.assertEqual(len(self.store.of_agent("sam")), LIST_MAX + 1)
        self.assertEqual(self.store.waiting(), LIST_MAX + 5)


class People(Case):
    def test_sessions_end_with_the_password(self):
        self.store.put_session("token", "agent", "sam")
        self.assertEqual(self.store.session("token", "agent"), "sam")
        self.assertIsNone(self.store.session("token", "customer"))
        self.store.put_agent("sam", "another name", "11:11")
        self.assertIsNone(self.store.session("token", "agent"))
        self.assertEqual(self.store.agent("sam")["shown"], "Sam")

    def test_a_session_ends_by_its_time_and_its_token_is_not_kept(self):
        self.store.put_session("token", "customer", "ana")
        self.assertEqual(self.store.rows("SELECT * FROM sessions WHERE hash = 'token'"), [])
        with self.store.writing() as db:
            db.execute("UPDATE sessions SET expires_at = 1")
        self.assertIsNone(self.store.session("token", "customer"))
        self.store.tidy()
        self.assertEqual(self.store.rows("SELECT * FROM sessions"), [])

    def test_who_has_gone_leaves_the_tickets_to_others(self):
        self.open()
        self.store.put_session("token", "agent", "sam")
        self.answer()
        self.assertTrue(self.store.remove_agent("sam"))
        self.assertFalse(self.store.remove_agent("sam"))
        self.assertIsNone(self.store.session("token", "agent"))
        self.assertTrue(self.store.claim(FIRST, "lucia"))


class OneFile(Case):
    def test_threads_of_two_desks_write_side_by_side(self):
        self.open()
        other = Store(self.path)

        def write(number: int) -> list[int]:
            store = (self.store, other)[number % 2]
            try:
                return [store.post_as_customer(FIRST, "Hello", f"key-of-thread-{number:02}-{n:02}") for n in range(5)]
            finally:
                store.close()

        numbers = sum(self.at_once(12, write), [])
        self.assertEqual(sorted(numbers), list(range(2, 62)))
        self.assertEqual(len(self.store.pending(200)), 2 + 60)
        other.close()

    def test_a_transaction_that_fails_leaves_nothing_behind(self):
        with self.assertRaises(KeyError):
            with self.store.writing() as db:
                db.execute("INSERT INTO inbox VALUES ('a', 1)")
                raise KeyError("a")
        self.assertEqual(self.store.rows("SELECT * FROM inbox"), [])
        # A COMMIT may fail as well: here because of a rule that is checked at the end.
        self.store.db().execute("PRAGMA foreign_keys = ON")
        with self.store.writing() as db:
            db.execute("CREATE TABLE parts (whole TEXT REFERENCES inbox (id) DEFERRABLE INITIALLY DEFERRED)")
        with self.assertRaises(sqlite3.IntegrityError):
            with self.store.writing() as db:
                db.execute("INSERT INTO parts VALUES ('nothing')")
        self.assertTrue(self.open())

    def test_it_is_nobody_elses(self):
        for name in ("support.db", "support.db-wal"):
            mode = stat.S_IMODE(os.stat(self.path.with_name(name)).st_mode)
            self.assertEqual(mode, 0o600, name)

    def test_tables_of_a_newer_desk_are_left_alone(self):
        with self.store.writing() as db:
            db.execute(f"PRAGMA user_version = {len(schema.STEPS) + 1}")
        with self.assertRaises(SystemExit) as raised:
            Database(self.path)
        self.assertIn("newer", str(raised.exception))
