"""What a request asks for, and whether it may."""

import secrets

import orjson
from django.conf import settings

BEARER = f"Bearer {settings.API_KEY}"


def allowed(request) -> bool:
    given = request.headers.get("authorization", "")
    return secrets.compare_digest(given.encode(), BEARER.encode())


def wanted(request) -> tuple[list[str], str, str] | None:
    """Users, title and body; nothing if the request cannot be understood."""
    try:
        asked = orjson.loads(request.body)
        to, content = asked["to"], asked["content"]
        users = [name_of(one) for one in (to if isinstance(to, list) else [to])]
        return users, content["title"], content["body"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


def name_of(recipient) -> str:
    return recipient if isinstance(recipient, str) else recipient["id"]


def new_uid() -> str:
    return "ntf_" + secrets.token_hex(16)
