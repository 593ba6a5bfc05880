"""Parsing what comes from outside: every field has its bounds, and nothing else passes."""

import json
import re
from typing import Any

from .database import digest

TEXT_MAX = 4_000
NAME_MAX = 80
SUBJECT_MAX = 120
EMAIL_MAX = 254
REFERENCE_MAX = 200
PASSWORD_BYTES = range(8, 129)
KEY = re.compile(r"[A-Za-z0-9_-]{16,64}")
EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@.]+")
DIGITS = re.compile(r"[0-9]{1,15}")
LOCALES = ("en", "es")

Body = dict[str, Any]


class Wrong(Exception):
    """A field that breaks a rule, as JSON pointer and stable code."""

    def __init__(self, pointer: str, code: str) -> None:
        super().__init__(f"{pointer}: {code}")
        self.pointer, self.code = pointer, code


def parse(raw: bytes) -> Body:
    """A JSON object; `ValueError` if it is none."""
    try:
        found = json.loads(raw)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def whole_number(text: str) -> int | None:
    """A number in ASCII digits; `str.isdigit` knows many more, which `int` then refuses."""
    return int(text) if DIGITS.fullmatch(text) else None


def text(body: Body, field: str, longest: int, lines: bool = False, empty: bool = False) -> str:
    """A text of this field, without space around it."""
    value = body.get(field, "")
    if not isinstance(value, str):
        raise Wrong(f"/{field}", "wrong_type")
    value = value.strip()
    if not value and not empty:
        raise Wrong(f"/{field}", "empty")
    if len(value) > longest:
        raise Wrong(f"/{field}", "too_long")
    if any(not printable(c) and not (lines and c in "\n\t") for c in value):
        raise Wrong(f"/{field}", "unknown_value")
    return value


def printable(c: str) -> bool:
    """Neither a control character, nor one that turns the line around, nor half of one, which no table takes."""
    at = ord(c)
    control = at < 32 or 127 <= at < 160
    turns = 0x202A <= at <= 0x202E or 0x2066 <= at <= 0x2069
    return not (control or turns or 0xD800 <= at <= 0xDFFF)


def key(body: Body) -> str:
    """What the page chose so that a repeat is recognised."""
    value = body.get("key")
    if not isinstance(value, str) or not KEY.fullmatch(value):
        raise Wrong("/key", "out_of_range")
    return value


def password(body: Body) -> str:
    """A password as it may be tried."""
    value = body.get("password")
    if not isinstance(value, str) or len(value.encode(errors="replace")) >= PASSWORD_BYTES.stop:
        raise Wrong("/password", "out_of_range")
    if any(0xD800 <= ord(c) <= 0xDFFF for c in value):
        raise Wrong("/password", "unknown_value")
    return value


def number(body: Body, field: str) -> int:
    """A number that every JSON reader keeps."""
    value = body.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise Wrong(f"/{field}", "out_of_range")
    return value


def ticket(body: Body) -> dict[str, str]:
    """Who asks what; a name and a text are enough."""
    email = text(body, "email", EMAIL_MAX, empty=True)
    if email and not EMAIL.fullmatch(email):
        raise Wrong("/email", "invalid_email")
    locale = body.get("locale", "en")
    if locale not in LOCALES:
        raise Wrong("/locale", "unknown_value")
    return {
        "name": text(body, "name", NAME_MAX), "email": email, "locale": locale,
        "subject": text(body, "subject", SUBJECT_MAX), "text": text(body, "text", TEXT_MAX, lines=True),
    }


def number_of(secret: str) -> str:
    """A ticket's number: nobody can guess it, find another key for it, or tell the key from it."""
    return "t" + digest(f"ticket {secret}")[:32]


def request_of_event(event: Body) -> dict[str, str]:
    """The ticket that another service asks for; `reference` is its own name for it."""
    # No key of a page has a space, so no visitor can name such a ticket.
    secret = f"event {text(event, 'reference', REFERENCE_MAX)}"
    return {"ticket": number_of(secret), "customer": digest(f"customer {secret}"), **ticket(event)}
