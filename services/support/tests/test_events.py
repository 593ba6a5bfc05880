"""What the desk tells and hears, with the sidecar's part played by the test."""

import ast
import http.client
import json
import sys
import threading
from pathlib import Path

import campana_support
from campana_support.app import AppHandler
from campana_support.deliveries import DECLARATION, Deliveries
from campana_support.outside import Away
from campana_support.relay import Relay
from campana_support.server import Server

from .case import FIRST, SECOND, TICKET, Case, Outside

NAMED = {"ce-source": "shop", "ce-id": "1"}


class Telling(Case):
    def test_events_go_out_in_the_order_of_their_ticket(self):
        self.open()
        self.open(number=SECOND)
        sidecar = Outside()
        Relay(self.store, sidecar).drain()
        batches = [[event["id"] for event in body["events"]] for _, body, _ in sidecar.asked]
        # What is in one batch is stored side by side.
        self.assertEqual(batches, [[f"{FIRST}-opened", f"{SECOND}-opened"], [f"{FIRST}-1", f"{SECOND}-1"]])
        self.assertEqual(self.store.pending(10), [])

    def test_what_was_not_stored_stays(self):
        self.open()
        relay = Relay(self.store, Outside(503, None, 200, 200))
        for _ in range(2):
            with self.assertRaises(Away):
                relay.turn()
        self.assertEqual(len(self.store.pending(10)), 2)
        relay.drain()
        self.assertEqual(self.store.pending(10), [])

    def test_an_answer_is_told_later_under_its_own_name(self):
        self.open()
        seq = self.answer()
        sidecar = Outside()
        Relay(self.store, sidecar).drain()
        paths = [path for path, _, _ in sidecar.asked if path != "/v1/publish"]
        self.assertEqual(paths, [f"/v1/publish/support/answer_unread?id={FIRST}-unread-{seq}&delay=60"])

    def test_a_relay_that_ends_tells_what_there_still_is(self):
        sidecar = Outside()
        relay = Relay(self.store, sidecar)
        relay.start()
        self.open()
        relay.stop(60)
        self.assertFalse(relay.is_alive())
        self.assertEqual(self.store.pending(10), [])
        self.assertEqual(sum(len(body["events"]) for _, body, _ in sidecar.asked), 2)


class Hearing(Case):
    def deliveries(self, edge=None, gateway=None):
        return Deliveries(self.store, edge, gateway, "http://desk.example/")

    def test_another_service_opens_a_ticket_once(self):
        event = json.dumps({"reference": "order-1", **TICKET}).encode()
        deliveries = self.deliveries()
        for _ in range(2):
            self.assertEqual(deliveries.handle("/deliveries/requests", NAMED, event), 204)
        # Told anew under another id it is still the same request.
        self.assertEqual(deliveries.handle("/deliveries/requests", {"ce-source": "shop", "ce-id": "2"}, event), 204)
        self.assertEqual(self.store.waiting(), 1)
        # The same id of another service is another event.
        event = json.dumps({"reference": "invoice-1", **TICKET}).encode()
        self.assertEqual(deliveries.handle("/deliveries/requests", {"ce-source": "bills", "ce-id": "1"}, event), 204)
        self.assertEqual(self.store.waiting(), 2)

    def test_an_event_that_comes_to_several_threads_at_once_counts_once(self):
        event = json.dumps({"reference": "order-1", **TICKET}).encode()
        deliveries = self.deliveries()
        answers = self.at_once(6, lambda _: deliveries.handle("/deliveries/requests", NAMED, event))
        self.assertEqual((answers, self.store.waiting()), ([204] * 6, 1))

    def test_what_makes_no_sense_is_parked(self):
        deliveries = self.deliveries()
        good = {"reference": "x", **TICKET}
        for body in (b"{", b"[]", b"{}", b"null", b"[" * 20_000, b"\xff", json.dumps({**good, "name": 3}).encode(),
                     json.dumps({**good, "text": "\ud800"}).encode()):
            self.assertEqual(deliveries.handle("/deliveries/requests", NAMED, body), 422, body[:40])
        for path in ("/deliveries/live", "/deliveries/letters"):
            self.assertEqual(deliveries.handle(path, NAMED, b"{}"), 422)
        # Without a name it could not be recognised when it comes again.
        self.assertEqual(deliveries.handle("/deliveries/requests", {}, json.dumps(good).encode()), 422)
        self.assertEqual(deliveries.handle("/deliveries/nothing", NAMED, b"{}"), 404)
        self.assertEqual(self.store.waiting(), 0)

    def test_pages_are_told_where_to_look_and_not_what_was_said(self):
        self.open()
        edge, event = Outside(), json.dumps({"ticket": FIRST}).encode()
        self.assertEqual(self.deliveries(edge).handle("/deliveries/live", NAMED, event), 204)
        channels = [body["channel"] for _, body, _ in edge.asked]
        self.assertEqual(channels, [f"support:{FIRST}", "support:desk"])
        self.assertNotIn("silent", json.dumps([body for _, body, _ in edge.asked]))
        for answer in (None, 500):
            self.assertEqual(self.deliveries(Outside(answer)).handle("/deliveries/live", NAMED, event), 503)

    def test_an_answer_that_was_read_has_no_letter(self):
        self.open()
        event = json.dumps({"ticket": FIRST, "seq": self.answer()}).encode()
        gateway = Outside(202, 503, 422)
        deliveries = self.deliveries(gateway=gateway)
        answers = [deliveries.handle("/deliveries/letters", NAMED, event) for _ in range(3)]
        self.assertEqual(answers, [204, 503, 422])
        _, body, headers = gateway.asked[0]
        self.assertEqual(body["to"]["email"], "ana@example.com")
        self.assertIn("Hola, Ana", body["content"]["body"])
        link = self.store.ticket(FIRST)["link"]
        self.assertIn(f"\n\nhttp://desk.example/#ticket={FIRST}&link={link}", body["content"]["body"])
        self.assertEqual(headers["Idempotency-Key"], f"support-{FIRST}-2")
        # Every attempt asks for the same letter: the gateway knows it by its key.
        self.assertEqual([one[1:] for one in gateway.asked], [gateway.asked[0][1:]] * 3)
        self.store.see(FIRST, 2)
        self.assertEqual(deliveries.handle("/deliveries/letters", NAMED, event), 204)
        self.assertEqual(len(gateway.asked), 3)

    def test_an_answer_of_a_ticket_that_an_agent_has_closed_is_mailed_and_one_that_its_customer_closed_is_not(self):
        for number, agent, letters in ((FIRST, "sam", 1), (SECOND, None, 0)):
            self.open(number=number)
            event = json.dumps({"ticket": number, "seq": self.answer(ticket=number)}).encode()
            self.store.finish(number, agent)
            gateway = Outside(202)
            self.assertEqual(self.deliveries(gateway=gateway).handle("/deliveries/letters", NAMED, event), 204)
            self.assertEqual(len(gateway.asked), letters, number)

    def test_of_two_answers_the_later_one_is_mailed(self):
        self.open()
        first = self.answer()
        second = self.store.post_as_agent(FIRST, "sam", "Or ring it.", "x" * 16, 60)
        for seq, letters in ((first, 0), (second, 1)):
            gateway = Outside(202)
            event = json.dumps({"ticket": FIRST, "seq": seq}).encode()
            self.assertEqual(self.deliveries(gateway=gateway).handle("/deliveries/letters", NAMED, event), 204)
            self.assertEqual(len(gateway.asked), letters, seq)

    def test_the_declaration_has_a_handler_for_each_path_and_hears_what_the_desk_tells(self):
        paths = {one["path"] for one in DECLARATION["subscriptions"]}
        self.assertEqual(paths, set(self.deliveries().paths))
        heard = {event["event"] for one in DECLARATION["subscriptions"] for event in one["events"]}
        self.open()
        self.answer()
        self.store.give_back(FIRST, "sam")
        self.store.finish(FIRST, None)
        self.assertLessEqual({row["event"] for row in self.store.pending(100)}, heard)


class Sidecar(Case):
    """The side that the sidecar sees."""

    def setUp(self):
        super().setUp()
        deliveries = Deliveries(self.store, None, None, "")
        self.server = Server(("127.0.0.1", 0), AppHandler, store=self.store, deliveries=deliveries,
                             declaration=DECLARATION, token="a token")
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.addCleanup(self.server.stop)

    def ask(self, method, path, body=b"", **headers):
        connection = http.client.HTTPConnection(*self.server.server_address, timeout=60)
        connection.request(method, path, body, {"campana-app-token": "a token", **NAMED, **headers})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, text

    def test_it_hears_only_the_sidecar(self):
        event = json.dumps({"reference": "order-1", **TICKET}).encode()
        status, text = self.ask("GET", "/campana/subscriptions")
        self.assertEqual((status, json.loads(text)), (200, DECLARATION))
        for headers, refused in (({"Origin": "http://evil.example"}, 403), ({"Host": "evil.example:3092"}, 403),
                                 ({"campana-app-token": "another"}, 401), ({"campana-app-token": ""}, 401)):
            self.assertEqual(self.ask("POST", "/deliveries/requests", event, **headers)[0], refused, headers)
            self.assertEqual(self.ask("GET", "/campana/subscriptions", **headers)[0], refused, headers)
        self.assertEqual(self.store.waiting(), 0)
        self.assertEqual(self.ask("POST", "/deliveries/requests", event)[0], 204)
        self.assertEqual(self.store.waiting(), 1)

    def test_what_has_no_end_is_refused(self):
        self.assertEqual(self.ask("POST", "/deliveries/requests", b"x" * 1_100_000)[0], 413)
        self.assertEqual(self.ask("POST", "/deliveries/requests", b"[" * 500_000)[0], 422)
        self.assertEqual(self.ask("POST", "/deliveries/requests", **{"Content-Length": "\xb2"})[0], 413)

    def test_a_table_that_refuses_costs_no_event(self):
        event = json.dumps({"reference": "order-1", **TICKET}).encode()
        with self.store.writing() as db:
            db.execute("ALTER TABLE tickets RENAME TO away")
        self.assertEqual(self.ask("POST", "/deliveries/requests", event)[0], 503)
        with self.store.writing() as db:
            db.execute("ALTER TABLE away RENAME TO tickets")
        self.assertEqual(self.ask("POST", "/deliveries/requests", event)[0], 204)
        self.assertEqual(self.store.waiting(), 1)


class Outsiders(Case):
    def test_the_desk_needs_python_and_nothing_else(self):
        found = set()
        for path in Path(campana_support.__file__).parent.glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    found |= {name.name.partition(".")[0] for name in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    found.add(node.module.partition(".")[0])
        self.assertLessEqual(found, sys.stdlib_module_names)
