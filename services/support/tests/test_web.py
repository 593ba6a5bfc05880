"""What browsers may ask, who may ask it, and what becomes of those who do not mean well."""

import http.client
import json
import socket
import threading
import time
from unittest import mock

from campana_support import auth, server
from campana_support.desk import Desk
from campana_support.pages import Pages
from campana_support.rate import Rate
from campana_support.server import Server
from campana_support.web import Handler

from .case import FIRST, KEY, TICKET, Case, options

PASSWORD = "12345678"
STORED = auth.hash_password(PASSWORD)


class Web(Case):
    """A desk that browsers reach."""

    live = False

    def setUp(self):
        super().setUp()
        for name in ("sam", "lucia"):
            self.store.put_agent(name, name.title(), STORED)
        edge = {"edge_url": "ws://edge.example:8000/x", "edge_secret": "s", "edge_api_url": "http://e",
                "edge_api_key": "k"}
        desk = Desk(self.store, options(unread_seconds=60, **(edge if self.live else {})), [])
        self.server = Server(("127.0.0.1", 0), Handler, store=self.store, pages=Pages("ws://edge.example:8000/x"),
                             desk=desk, rate=Rate(1_000, 1_000), opens=Rate(0.001, 5), sign_ins=Rate(0.001, 3))
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.addCleanup(self.server.stop)
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

    def raw(self, head, body=b""):
        """What is answered to bytes, up to the end of the connection."""
        with socket.create_connection(self.server.server_address, timeout=60) as connection:
            connection.sendall(head + b"\r\n\r\n" + body)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    def open_one(self, key=KEY):
        """Opens a ticket as a new customer; its number and the customer's cookies."""
        self.cookies = {}
        status, opened = self.ask("POST", "/api/tickets", {"key": key, **TICKET})
        self.assertEqual(status, 201)
        return opened["ticket"], self.cookies

    def sign_in(self, name):
        self.cookies = {}
        self.assertEqual(self.ask("POST", "/api/session", {"name": name, "password": PASSWORD})[0], 200)
        return self.cookies


class Asking(Web):
    def test_a_ticket_from_its_question_to_its_end(self):
        number, _ = self.open_one()
        # The answer was lost: the same key is the same ticket, and its session comes again.
        self.assertEqual(self.open_one()[0], number)
        customer = self.cookies
        status, page = self.ask("GET", f"/api/tickets/{number}")
        self.assertEqual((status, page["messages"][0]["text"]), (200, "It is silent."))
        self.cookies = {}
        self.assertEqual(self.ask("POST", "/api/session", {"name": "sam", "password": "no"})[0], 401)
        self.sign_in("sam")
        answer = {"key": "a" * 32, "text": "Shake it."}
        status, problem = self.ask("POST", f"/api/tickets/{number}/messages", answer)
        self.assertEqual((status, problem["code"], problem["type"]), (409, "claim_first", "about:blank"))
        self.assertEqual(self.ask("POST", f"/api/tickets/{number}/claim", {})[0], 200)
        self.assertEqual(self.ask("POST", f"/api/tickets/{number}/messages", answer), (201, {"seq": 2}))
        self.assertEqual(self.ask("POST", f"/api/tickets/{number}/messages", answer), (201, {"seq": 2}))
        self.assertTrue(self.ask("GET", f"/api/tickets/{number}")[1]["ticket"]["mine"])
        signed_in = dict(self.cookies)
        self.assertEqual(self.ask("DELETE", "/api/session", {})[0], 200)
        # Also for somebody who kept the cookie.
        self.cookies = signed_in
        self.assertEqual(self.ask("GET", "/api/queue")[0], 401)
        self.cookies = customer
        status, page = self.ask("GET", f"/api/tickets/{number}?after=1")
        self.assertEqual([(one["name"], one["text"]) for one in page["messages"]], [("Sam", "Shake it.")])
        for secret in ("email", "link", "customer", "agent"):
            self.assertNotIn(secret, page["ticket"])
        self.assertEqual(self.ask("POST", f"/api/tickets/{number}/seen", {"seq": 99})[0], 200)
        self.assertEqual(self.store.ticket(number)["customer_seen"], 2)
        self.assertEqual(self.ask("POST", f"/api/tickets/{number}/close", {})[0], 200)
        self.assertEqual(self.ask("POST", f"/api/tickets/{number}/messages", {"key": "b" * 32, "text": "x"})[0], 409)

    def test_who_may_do_what(self):
        number, owner = self.open_one()
        _, stranger = self.open_one("s" * 32)
        sam, lucia = self.sign_in("sam"), self.sign_in("lucia")
        self.cookies = sam
        self.assertEqual(self.ask("POST", f"/api/tickets/{number}/claim", {})[0], 200)
        say = {"key": "m" * 32, "text": "Hello"}
        at = f"/api/tickets/{number}"
        #         method, path, body                    nobody, stranger, owner, other agent, agent
        table = [("GET", at, None,                      (404, 404, 200, 200, 200)),
                 ("POST", f"{at}/messages", say,        (404, 404, 201, 409, 201)),
                 ("POST", f"{at}/seen", {"seq": 1},     (404, 404, 200, 200, 200)),
                 ("POST", f"{at}/claim", {},            (401, 401, 401, 409, 200)),
                 ("GET", "/api/queue", None,            (401, 401, 401, 200, 200)),
                 ("POST", f"{at}/return", {},           (401, 401, 401, 200, 200)),
                 ("POST", f"{at}/close", {},            (404, 404, 200, 200, 200))]
        for method, path, body, wanted in table:
            # Nobody and strangers first; what they do must change nothing.
            found = []
            for cookies in ({}, stranger, owner, lucia, sam):
                if path.endswith("/close"):
                    break
                self.cookies = dict(cookies)
                found.append(self.ask(method, path, body)[0])
                if path.endswith("/return") and cookies is lucia:
                    self.assertEqual(self.store.ticket(number)["agent"], "sam", "another agent's ticket was returned")
            self.assertEqual(tuple(found), wanted[:len(found)], (method, path))
        self.assertEqual(self.store.ticket(number)["status"], "open")
        for cookies, status in (({}, 404), (stranger, 404), (sam, 409), (owner, 200)):
            self.cookies = dict(cookies)
            self.assertEqual(self.ask("POST", f"{at}/close", {})[0], status)
        self.assertEqual(self.ask("GET", "/api/tickets", cookies=False), (200, {"tickets": []}))
        self.cookies = stranger
        self.assertNotIn(number, [one["id"] for one in self.ask("GET", "/api/tickets")[1]["tickets"]])

    def test_the_link_of_a_letter_opens_its_ticket_and_nothing_else(self):
        (number, _), (other, _) = self.open_one(), self.open_one("s" * 32)
        link = {"Support-Link": self.store.ticket(number)["link"]}
        self.cookies = {}
        self.assertEqual(self.ask("GET", f"/api/tickets/{number}", **link)[0], 200)
        say = {"key": "m" * 32, "text": "Hello"}
        self.assertEqual(self.ask("POST", f"/api/tickets/{number}/messages", say, **link)[0], 201)
        self.assertEqual(self.cookies, {}, "a link that somebody else sent must not sign anybody in")
        self.assertEqual(self.ask("GET", f"/api/tickets/{other}", **link)[0], 404)
        self.assertEqual(self.ask("GET", "/api/tickets", **link), (200, {"tickets": []}))
        self.assertEqual(self.ask("GET", "/api/queue", **link)[0], 401)
        for wrong in ("", "x", "\xe9"):
            self.assertEqual(self.ask("GET", f"/api/tickets/{number}", **{"Support-Link": wrong})[0], 404)

    def test_what_is_wrong_is_refused_with_its_name(self):
        cases = [
            (("POST", "/api/tickets", b"{"), {}, 400, "invalid_json"),
            (("POST", "/api/tickets", b"[]"), {}, 400, "invalid_json"),
            (("POST", "/api/tickets", b"[" * 30_000), {}, 400, "invalid_json"),
            (("POST", "/api/tickets", b"\xff"), {}, 400, "invalid_json"),
            (("POST", "/api/tickets", {"key": "short", **TICKET}), {}, 422, "validation_failed"),
            (("POST", "/api/tickets", {"key": KEY, **TICKET, "name": "\ud800"}), {}, 422, "validation_failed"),
            (("POST", "/api/session", {"name": "sam", "password": "\ud800"}), {}, 422, "validation_failed"),
            (("POST", "/api/tickets", {"key": KEY, **TICKET}), {"Origin": "https://evil.example"}, 403, "foreign_origin"),
            (("POST", "/api/tickets", {"key": KEY, **TICKET}), {"Origin": "http://[x"}, 403, "foreign_origin"),
            (("POST", "/api/tickets", {"key": KEY, **TICKET}), {"Origin": "null"}, 403, "foreign_origin"),
            (("POST", "/api/tickets", b"x" * 40_000), {}, 413, "payload_too_large"),
            (("POST", "/api/tickets", b"x" * 3_000_000), {}, 413, "payload_too_large"),
            (("POST", "/api/tickets", b"{}"), {"Transfer-Encoding": "chunked"}, 413, "payload_too_large"),
            (("POST", "/api/tickets", b"key=1"), {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
            (("GET", f"/api/tickets/{FIRST}"), {}, 404, "not_found"),
            (("GET", "/etc/passwd"), {}, 404, "not_found"),
            (("GET", "/assets/../store.py"), {}, 404, "not_found"),
            (("GET", "/assets/index.html"), {}, 404, "not_found"),
            (("DELETE", "/api/tickets", {}), {}, 405, "method_not_allowed"),
            (("PUT", "/api/tickets", {}), {}, 405, "method_not_allowed"),
            (("POST", f"/api/tickets/{FIRST}/claim", {}), {}, 401, "unauthorized"),
        ]
        for arguments, headers, status, code in cases:
            found, problem = self.ask(*arguments, **headers)
            self.assertEqual((found, problem["code"]), (status, code), arguments)
        self.assertEqual(self.store.waiting(), 0)

    def test_a_number_is_made_of_digits(self):
        number, _ = self.open_one()
        for after in ("x", "-1", "%C2%B2", "9" * 16, "1.0"):
            status, problem = self.ask("GET", f"/api/tickets/{number}?after={after}")
            self.assertEqual((status, problem["code"]), (400, "invalid_parameter"), after)

    def test_a_mistake_of_the_desk_has_an_answer_and_quotes_nobody(self):
        desk = self.server.shared["desk"]
        with mock.patch.object(desk, "tickets", side_effect=RuntimeError("my secret")):
            with self.assertLogs("support.server") as logged:
                status, problem = self.ask("GET", "/api/tickets")
        self.assertEqual((status, problem["code"]), (500, "internal"))
        self.assertNotIn("my secret", "".join(logged.output))

    def test_passwords_cannot_be_guessed_quickly(self):
        found = [self.ask("POST", "/api/session", {"name": "sam", "password": "no"})[0] for _ in range(5)]
        self.assertEqual(found, [401, 401, 401, 429, 429])

    def test_tickets_are_not_opened_without_end(self):
        found = [self.ask("POST", "/api/tickets", {"key": f"{n:032}", **TICKET})[0] for n in range(7)]
        self.assertEqual(found, [201] * 5 + [429] * 2)

    def test_pages_are_kept_to_their_own_scripts(self):
        status, text = self.ask("GET", "/")
        self.assertEqual(status, 200)
        self.assertIn("/assets/customer.js", text)
        head = self.raw(b"GET / HTTP/1.1\r\nHost: x").split(b"\r\n\r\n")[0]
        policy = b"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:"
        self.assertIn(policy, head)
        self.assertIn(b"connect-src 'self' ws://edge.example:8000;", head)
        self.assertEqual(self.ask("GET", "/assets/desk.css")[0], 200)
        self.assertEqual(self.ask("GET", "/api/live")[1], {"url": None})


class Listening(Web):
    live = True

    def test_tokens_are_for_who_may_see_the_ticket(self):
        number, owner = self.open_one()
        _, stranger = self.open_one("s" * 32)
        sam = self.sign_in("sam")
        for cookies, ticket, desk in (({}, 404, 401), (stranger, 404, 401), (owner, 200, 401), (sam, 200, 200)):
            self.cookies = dict(cookies)
            self.assertEqual(self.ask("GET", f"/api/live?ticket={number}")[0], ticket)
            self.assertEqual(self.ask("GET", "/api/live")[0], desk)
        self.assertEqual(self.ask("GET", "/api/live")[1]["channel"], "support:desk")
        self.cookies = owner
        self.assertEqual(self.ask("GET", f"/api/live?ticket={number}")[1]["channel"], f"support:{number}")


class Hostile(Web):
    def test_heads_that_make_no_sense_are_refused_and_nothing_is_said_of_them(self):
        lines = [
            (b"GET http://[x HTTP/1.1\r\nHost: x", b"400"),
            (b"POST /api/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: \xb2", b"413"),
            (b"POST /api/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: -1", b"413"),
            (b"POST /api/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5_000, b"413"),
            (b"POST /api/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3", b"413"),
            (b"GET / HTTP/9.9", b"505"),
            (b"GET /" + b"x" * 70_000 + b" HTTP/1.1", b"414"),
            (b"nonsense", b"400"),
            (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200, b"431"),
        ]
        for head, status in lines:
            answer = self.raw(head)
            code = answer.split(b" ")[1] if answer.startswith(b"HTTP/1.1 ") else None
            self.assertIn(code, (status,), head[:60])
            self.assertNotIn(b"<html", answer.lower())

    def test_a_body_that_nobody_reads_is_not_taken_for_a_request(self):
        inner = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = self.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: %d" % len(inner), inner)
        self.assertEqual(answer.count(b"HTTP/1.1 200"), 1)

    def test_who_sends_slowly_is_sent_away(self):
        with mock.patch.object(server, "REQUEST_SECONDS", 0.3), mock.patch.object(Handler, "timeout", 0.3):
            with socket.create_connection(self.server.server_address, timeout=0.05) as connection:
                end = time.monotonic() + 60
                while time.monotonic() < end:
                    try:
                        connection.sendall(b"a")
                        if connection.recv(1) == b"":
                            break
                    except TimeoutError:
                        continue
                    except OSError:
                        break
                else:
                    self.fail("the connection stays, a byte at a time")

    def test_one_address_cannot_take_every_connection(self):
        with mock.patch.object(server, "CONNECTIONS_OF_ADDRESS_MAX", 2):
            kept = [http.client.HTTPConnection(*self.server.server_address, timeout=60) for _ in range(2)]
            for one in kept:
                one.request("GET", "/healthz")
                self.assertEqual(one.getresponse().read(), b'{"ok": true}')
            with socket.create_connection(self.server.server_address, timeout=60) as third:
                try:
                    third.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    self.assertEqual(third.recv(1), b"")
                except (ConnectionResetError, BrokenPipeError):
                    pass
            for one in kept:
                one.close()
            # Their places are free again, as soon as the server has seen them go.
            end = time.monotonic() + 60
            while self.server.open and time.monotonic() < end:
                time.sleep(0.01)
            self.assertEqual(self.ask("GET", "/healthz")[0], 200)
