"""The desk without a bus: what it keeps, what it refuses, and what it would tell.

Run in services/support: python3 -m unittest discover -s tests -t .
"""

import http.client
import json
import tempfile
import threading
import unittest
from argparse import Namespace
from pathlib import Path

from campana_support import auth, checks
from campana_support.deliveries import DECLARATION, Deliveries
from campana_support.desk import Desk
from campana_support.outside import Away
from campana_support.pages import Pages
from campana_support.rate import Rate
from campana_support.relay import Relay
from campana_support.store import Store
from campana_support.web import Handler, Server

TICKET = {"name": "Ana", "email": "ana@example.com", "locale": "es", "subject": "Bell", "text": "It is silent."}


class Outside:
    """Somebody whom the desk asks: keeps what was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def post(self, path, body, headers=None):
        self.asked.append((path, body, headers))
        status = self.answers.pop(0) if self.answers else 200
        if status is None:
            raise Away("nobody there")
        return status, {}

    def close(self):
        pass


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.store = Store(Path(self.folder.name) / "support.db")
        self.addCleanup(self.store.close)

    def open(self, number="t0000000000000001", seen=None):
        return self.store.open_ticket(number, "customer", seen=seen, **TICKET)


class Tables(Case):
    def test_a_message_has_a_number_and_a_repeat_has_the_same(self):
        self.assertTrue(self.open())
        self.assertFalse(self.open())
        ticket = "t0000000000000001"
        self.assertEqual(self.store.post(ticket, "customer", "Ana", "Hello?", "k" * 16, 60), 2)
        self.assertEqual(self.store.post(ticket, "customer", "Ana", "Hello?", "k" * 16, 60), 2)
        self.assertEqual([one["seq"] for one in self.store.messages(ticket, 0)], [1, 2])
        self.assertEqual([one["seq"] for one in self.store.messages(ticket, 1)], [2])

    def test_every_change_has_its_event_and_no_event_says_what_was_said(self):
        self.open()
        self.store.claim("t0000000000000001", "sam")
        self.store.post("t0000000000000001", "agent", "Sam", "Shake it.", "k" * 16, 60)
        self.store.finish("t0000000000000001")
        rows = self.store.pending(100)
        self.assertEqual([row["event"] for row in rows],
                         ["ticket_opened", "message_posted", "ticket_claimed", "message_posted", "answer_unread",
                          "ticket_closed"])
        told = json.dumps([row["body"] for row in rows])
        self.assertNotIn("silent", told)
        self.assertNotIn("Ana", told)

    def test_one_agent_has_a_ticket(self):
        self.open()
        won = []
        def claim(agent):
            if self.store.claim("t0000000000000001", agent):
                won.append(agent)
            self.store.close()
        threads = [threading.Thread(target=claim, args=(f"agent-{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(won), 1)
        self.assertTrue(self.store.claim("t0000000000000001", won[0]))

    def test_a_message_of_the_bus_counts_once(self):
        self.assertTrue(self.open(seen="shop o-1"))
        self.assertFalse(self.open(number="t0000000000000002", seen="shop o-1"))
        self.assertIsNone(self.store.ticket("t0000000000000002"))

    def test_a_closed_ticket_takes_nothing_more(self):
        self.open()
        self.store.finish("t0000000000000001")
        self.assertIsNone(self.store.post("t0000000000000001", "customer", "Ana", "And?", "k" * 16, 60))

    def test_sessions_end_with_the_password(self):
        self.store.put_agent("sam", "Sam", auth.hash_password("12345678"))
        self.store.put_session("token", "agent", "sam")
        self.assertEqual(self.store.session("token", "agent"), "sam")
        self.assertIsNone(self.store.session("token", "customer"))
        self.store.put_agent("sam", "Sam", auth.hash_password("87654321"))
        self.assertIsNone(self.store.session("token", "agent"))


class Telling(Case):
    def test_events_go_out_in_the_order_of_their_ticket(self):
        self.open()
        self.open(number="t0000000000000002")
        sidecar = Outside()
        relay = Relay(self.store, sidecar)
        while relay.turn():
            pass
        told = [event["id"] for _, body, _ in sidecar.asked for event in body["events"]]
        self.assertEqual([one for one in told if one.startswith("t0000000000000001")],
                         ["t0000000000000001-opened", "t0000000000000001-1"])
        self.assertEqual(len(told), 4)
        self.assertEqual(self.store.pending(10), [])

    def test_what_was_not_stored_stays(self):
        self.open()
        relay = Relay(self.store, Outside(503, None, 200, 200))
        for _ in range(2):
            with self.assertRaises(Away):
                relay.turn()
        self.assertEqual(len(self.store.pending(10)), 2)
        while relay.turn():
            pass
        self.assertEqual(self.store.pending(10), [])


class Hearing(Case):
    def deliveries(self, edge=None, gateway=None):
        return Deliveries(self.store, edge, gateway, "http://desk.example/")

    def test_another_service_opens_a_ticket_once(self):
        event = json.dumps({"reference": "order-1", **TICKET})
        deliveries = self.deliveries()
        headers = {"ce-source": "shop", "ce-id": "1"}
        for _ in range(2):
            self.assertEqual(deliveries.handle("/deliveries/requests", headers, event)[0], 204)
        # Told anew under another id it is still the same request.
        deliveries.handle("/deliveries/requests", {"ce-source": "shop", "ce-id": "2"}, event)
        self.assertEqual(self.store.waiting(), 1)

    def test_what_makes_no_sense_is_parked(self):
        deliveries = self.deliveries()
        for body in (b"{", b"[]", b"{}", b"null", json.dumps({"reference": "x", **TICKET, "name": 3}).encode()):
            self.assertEqual(deliveries.handle("/deliveries/requests", {}, body)[0], 422)
        self.assertEqual(deliveries.handle("/deliveries/nothing", {}, b"{}")[0], 404)

    def test_pages_are_told_where_to_look_and_not_what_was_said(self):
        self.open()
        edge = Outside()
        status, _ = self.deliveries(edge).handle("/deliveries/live", {"ce-id": "1"}, b'{"ticket":"t0000000000000001"}')
        self.assertEqual(status, 204)
        channels = [body["channel"] for _, body, _ in edge.asked]
        self.assertEqual(channels, ["support:t0000000000000001", "support:desk"])
        self.assertNotIn("silent", json.dumps([body for _, body, _ in edge.asked]))
        status, _ = self.deliveries(Outside(None)).handle("/deliveries/live", {}, b'{"ticket":"t0000000000000001"}')
        self.assertEqual(status, 503)

    def test_an_answer_that_was_read_has_no_letter(self):
        self.open()
        seq = self.store.post("t0000000000000001", "agent", "Sam", "Shake it.", "k" * 16, 60)
        event = json.dumps({"ticket": "t0000000000000001", "seq": seq})
        gateway = Outside(202, 503, 422)
        deliveries = self.deliveries(gateway=gateway)
        answers = [deliveries.handle("/deliveries/letters", {}, event)[0] for _ in range(3)]
        self.assertEqual(answers, [204, 503, 422])
        _, body, headers = gateway.asked[0]
        self.assertEqual(body["to"]["email"], "ana@example.com")
        self.assertIn("Hola, Ana", body["content"]["body"])
        self.assertEqual(headers["Idempotency-Key"], f"support-t0000000000000001-{seq}")
        self.store.see("t0000000000000001", seq)
        self.assertEqual(deliveries.handle("/deliveries/letters", {}, event)[0], 204)
        self.assertEqual(len(gateway.asked), 3)

    def test_the_declaration_has_a_handler_for_each_path(self):
        paths = {one["path"] for one in DECLARATION["subscriptions"]}
        self.assertEqual(paths, set(self.deliveries().paths))


class Pure(unittest.TestCase):
    def test_fields_have_bounds(self):
        self.assertEqual(checks.ticket({**TICKET, "name": " Ana "})["name"], "Ana")
        for field, value, code in (
            ("name", "", "empty"), ("name", "x" * 81, "too_long"), ("name", 1, "wrong_type"), ("name", "a\nb", "unknown_value"),
            ("email", "ana", "invalid_email"), ("locale", "fr", "unknown_value"), ("text", "x" * 4_001, "too_long"),
        ):
            with self.assertRaises(checks.Wrong) as raised:
                checks.ticket({**TICKET, field: value})
            self.assertEqual((raised.exception.pointer, raised.exception.code), (f"/{field}", code))

    def test_a_bucket_fills_again(self):
        rate = Rate(1, 3)
        self.assertEqual([rate.admits("a", 0) for _ in range(4)], [True, True, True, False])
        self.assertTrue(rate.admits("b", 0))
        self.assertTrue(rate.admits("a", 1))

    def test_a_password_is_not_kept(self):
        stored = auth.hash_password("correct horse")
        self.assertNotIn("horse", stored)
        self.assertTrue(auth.is_password("correct horse", stored))
        self.assertFalse(auth.is_password("wrong", stored))


class Web(Case):
    def setUp(self):
        super().setUp()
        self.store.put_agent("sam", "Sam", auth.hash_password("12345678"))
        options = Namespace(live=False, unread_seconds=60)
        self.server = Server(("127.0.0.1", 0), Handler, store=self.store, pages=Pages("ws://edge.example:8000/x"),
                             desk=Desk(self.store, options, []), rate=Rate(1_000, 1_000), sign_ins=Rate(0.001, 3))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.cookies = {}

    def ask(self, method, path, body=None, cookies=True, **headers):
        connection = http.client.HTTPConnection(*self.server.server_address, timeout=60)
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        sent = {"Content-Type": "application/json", **headers}
        if cookies and self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request(method, path, data, sent)
        answer = connection.getresponse()
        text = answer.read()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            self.assertIn("HttpOnly; SameSite=Lax", cookie)
            name, _, value = cookie.split(";")[0].partition("=")
            self.cookies[name] = value
        connection.close()
        kind = answer.headers.get_content_type()
        return answer.status, json.loads(text) if "json" in kind else text.decode()

    def test_a_ticket_from_its_question_to_its_end(self):
        body = {"key": "k" * 32, **TICKET}
        status, opened = self.ask("POST", "/api/tickets", body)
        self.assertEqual(status, 201)
        number = opened["ticket"]
        # The answer was lost: the same key is the same ticket, and its session comes again.
        self.cookies.clear()
        self.assertEqual(self.ask("POST", "/api/tickets", body), (201, opened))
        self.assertEqual(self.ask("GET", f"/api/tickets/{number}")[1]["messages"][0]["text"], "It is silent.")
        # Nobody else sees it, or learns that it exists.
        self.assertEqual(self.ask("GET", f"/api/tickets/{number}", cookies=False)[0], 404)
        self.assertEqual(self.ask("GET", "/api/queue")[0], 401)
        customer = dict(self.cookies)
        self.cookies.clear()
        self.assertEqual(self.ask("POST", "/api/session", {"name": "sam", "password": "no"})[0], 401)
        self.assertEqual(self.ask("POST", "/api/session", {"name": "sam", "password": "12345678"})[0], 200)
        answer = {"key": "a" * 32, "text": "Shake it."}
        status, problem = self.ask("POST", f"/api/tickets/{number}/messages", answer)
        self.assertEqual((status, problem["code"], problem["type"]), (409, "claim_first", "about:blank"))
        self.assertEqual(self.ask("POST", f"/api/tickets/{number}/claim", {})[0], 200)
        self.assertEqual(self.ask("POST", f"/api/tickets/{number}/messages", answer), (201, {"seq": 2}))
        self.assertEqual(self.ask("POST", f"/api/tickets/{number}/messages", answer), (201, {"seq": 2}))
        self.assertEqual(self.ask("DELETE", "/api/session", {})[0], 200)
        self.assertEqual(self.ask("GET", "/api/queue")[0], 401)
        self.cookies = customer
        status, page = self.ask("GET", f"/api/tickets/{number}?after=1")
        self.assertEqual([(one["name"], one["text"]) for one in page["messages"]], [("Sam", "Shake it.")])
        self.assertNotIn("email", page["ticket"])
        self.assertEqual(self.ask("POST", f"/api/tickets/{number}/seen", {"seq": 99})[0], 200)
        self.assertEqual(self.store.ticket(number)["customer_seen"], 2)
        self.assertEqual(self.ask("POST", f"/api/tickets/{number}/close", {})[0], 200)
        self.assertEqual(self.ask("POST", f"/api/tickets/{number}/messages", {"key": "b" * 32, "text": "x"})[0], 409)

    def test_what_is_wrong_is_refused_with_its_name(self):
        cases = [
            (("POST", "/api/tickets", b"{"), {}, 400, "invalid_json"),
            (("POST", "/api/tickets", b"[]"), {}, 400, "invalid_json"),
            (("POST", "/api/tickets", {"key": "short", **TICKET}), {}, 422, "validation_failed"),
            (("POST", "/api/tickets", {"key": "k" * 16, **TICKET}), {"Origin": "https://evil.example"}, 403, "foreign_origin"),
            (("POST", "/api/tickets", b"x" * 40_000), {}, 413, "payload_too_large"),
            (("POST", "/api/tickets", b"key=1"), {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
            (("GET", "/api/tickets/t0000000000000001?after=x"), {}, 404, "not_found"),
            (("GET", "/etc/passwd"), {}, 404, "not_found"),
            (("GET", "/assets/../store.py"), {}, 404, "not_found"),
            (("POST", "/api/tickets/t0000000000000001/claim", {}), {}, 401, "unauthorized"),
        ]
        for arguments, headers, status, code in cases:
            found, problem = self.ask(*arguments, **headers)
            self.assertEqual((found, problem["code"]), (status, code), arguments)

    def test_passwords_cannot_be_guessed_quickly(self):
        found = [self.ask("POST", "/api/session", {"name": "sam", "password": "no"})[0] for _ in range(5)]
        self.assertEqual(found, [401, 401, 401, 429, 429])

    def test_pages_are_kept_to_their_own_scripts(self):
        status, text = self.ask("GET", "/")
        self.assertEqual(status, 200)
        self.assertIn("/assets/customer.js", text)
        self.assertIn("connect-src 'self' ws://edge.example:8000;", self.server.shared["pages"].policy)
        self.assertEqual(self.ask("GET", "/assets/desk.css")[0], 200)
        self.assertEqual(self.ask("GET", "/api/live")[1], {"url": None})


if __name__ == "__main__":
    unittest.main()
