"""Parsing what comes from outside: every field has its bounds, and nothing else passes."""

import re

from .store import digest

TEXT_MAX = 4_000
NAME_MAX = 80
SUBJECT_MAX = 120
EMAIL_MAX = 254
KEY = re.compile(r"^[A-Za-z0-9_-]{16,64}$")
EMAIL = re.compile(r"^[^\s@]+@[^\s@]+\.[^\s@.]+$")
LOCALES = ("en", "es")


class Wrong(Exception):
    """A field that breaks a rule, as JSON pointer and stable code."""

    def __init__(self, pointer, code):
        super().__init__(f"{pointer}: {code}")
        self.pointer, self.code = pointer, code


def text(body, field, longest, lines=False, empty=False):
    """A text of this field, without space around it."""
    value = body.get(field, "")
    if not isinstance(value, str):
        raise Wrong(f"/{field}", "wrong_type")
    value = value.strip()
    if not value and not empty:
        raise Wrong(f"/{field}", "empty")
    if len(value) > longest:
        raise Wrong(f"/{field}", "too_long")
    if any(ord(c) < 32 and not (lines and c in "\n\t") or ord(c) == 127 for c in value):
        raise Wrong(f"/{field}", "unknown_value")
    return value


def key(body):
    """What the page chose so that a repeat is recognised."""
    value = body.get("key")
    if not isinstance(value, str) or not KEY.match(value):
        raise Wrong("/key", "out_of_range")
    return value


def number(body, field):
    value = body.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise Wrong(f"/{field}", "out_of_range")
    return value


def ticket(body):
    """Who asks what; a name and a text are enough."""
    email = text(body, "email", EMAIL_MAX, empty=True)
    if email and not EMAIL.match(email):
        raise Wrong("/email", "invalid_email")
    locale = body.get("locale", "en")
    if locale not in LOCALES:
        raise Wrong("/locale", "unknown_value")
    return {
        "name": text(body, "name", NAME_MAX), "email": email, "locale": locale,
        "subject": text(body, "subject", SUBJECT_MAX), "text": text(body, "text", TEXT_MAX, lines=True),
    }


def number_of(secret):
    """A ticket's number: nobody can guess it, and it does not tell the key that it is made of."""
    return "t" + digest(f"ticket {secret}")[:16]


def request_of_event(event):
    """The ticket that another service asks for; `reference` is its own name for it."""
    if not isinstance(event, dict):
        raise Wrong("", "wrong_type")
    reference = text(event, "reference", 200)
    secret = f"event {reference}"
    return {"ticket": number_of(secret), "customer": digest(f"customer {secret}"), **ticket(event)}
