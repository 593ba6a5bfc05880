"""Passwords, sessions and tokens, with what the standard library has."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from typing import Any

# OWASP's recommendation for scrypt: 32 MiB for each attempt.
COST = {"n": 2**15, "r": 8, "p": 1, "maxmem": 64 * 1024 * 1024}
#: Attempts at the same time: whoever guesses gets no more memory than this.
AT_ONCE = threading.BoundedSemaphore(4)
PASSWORD_BYTES_MAX = 128
TOKEN_SECONDS = 3_600


def new_token() -> str:
    """A session's token: 32 random bytes."""
    return secrets.token_urlsafe(32)


def scrypt(password: str, salt: bytes) -> bytes:
    """The slow hash."""
    with AT_ONCE:
        return hashlib.scrypt(password.encode(), salt=salt, **COST)


def hash_password(password: str) -> str:
    """What is stored of a password."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}:{scrypt(password, salt).hex()}"


def is_password(password: str, stored: str) -> bool:
    """Whether this is the password of which that was stored."""
    salt, _, wanted = stored.partition(":")
    return hmac.compare_digest(scrypt(password, bytes.fromhex(salt)).hex(), wanted)


#: Compared with when there is no such account, so that an answer's time says nothing.
NOBODY = hash_password(secrets.token_hex(16))


def same_secret(one: str, other: str) -> bool:
    """Compares two secrets without telling how far they agree."""
    return hmac.compare_digest(one.encode(), other.encode())


def jwt(secret: str, claims: dict[str, Any]) -> str:
    """A token for the edge (HS256)."""
    now = int(time.time())
    claims = {"iat": now, "exp": now + TOKEN_SECONDS, **claims}
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    signature = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()
