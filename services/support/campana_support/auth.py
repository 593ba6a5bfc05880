"""Passwords, sessions and tokens, with what the standard library has."""

import base64
import hashlib
import hmac
import json
import secrets
import time

# OWASP's recommendation for scrypt: 32 MiB for each attempt.
COST = {"n": 2**15, "r": 8, "p": 1, "maxmem": 64 * 1024 * 1024}
PASSWORD_BYTES_MAX = 128
TOKEN_SECONDS = 3_600


def new_token():
    """A session's token: 32 random bytes."""
    return secrets.token_urlsafe(32)


def hash_password(password):
    salt = secrets.token_bytes(16)
    made = hashlib.scrypt(password.encode(), salt=salt, **COST)
    return f"{salt.hex()}:{made.hex()}"


def is_password(password, stored):
    salt, _, wanted = stored.partition(":")
    made = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), **COST)
    return hmac.compare_digest(made.hex(), wanted)


#: Compared with when there is no such account, so that an answer's time says nothing.
NOBODY = hash_password(secrets.token_hex(16))


def jwt(secret, claims):
    """A token for the edge (HS256)."""
    now = int(time.time())
    claims = {"iat": now, "exp": now + TOKEN_SECONDS, **claims}
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    signature = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()
