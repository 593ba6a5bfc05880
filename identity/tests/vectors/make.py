"""Makes tokens.json: tokens minted by PyJWT, an implementation that shares no code with ours.

Keys and clock are fixed: the keys are the published examples of RFC 7515 and RFC 8037, and one derived from a
fixed number. Only ECDSA signatures differ from run to run. Run it with PyJWT and its extra `crypto`:

    pip install 'pyjwt[crypto]' && python make.py > tokens.json
"""

import base64
import json
import sys

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = 1_800_000_000

SECRET = bytes(range(64))
PREVIOUS = bytes(range(100, 164))

# RFC 7515, appendix A.2.
RSA = {
    "kty": "RSA",
    "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    "e": "AQAB",
    "d": "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
}
# RFC 7515, appendix A.3.
EC256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
# RFC 8037, appendix A.1.
ED = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}


def private(jwk):
    return jwt.PyJWK(jwk, algorithm={"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}[jwk["kty"]]).key


def pem(key):
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, spki).decode()


rsa, p256, ed = private(RSA), private(EC256), private(ED)
p384 = ec.derive_private_key(0xC0FFEE << 300 | 7, ec.SECP384R1())
KEYS = {"HS": SECRET, "RS": rsa, "ES256": p256, "ES384": p384, "EdDSA": ed}

JWKS = {
    "keys": [
        json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(rsa.public_key())) | {"kid": "rsa", "use": "sig"},
        json.loads(jwt.get_algorithm_by_name("ES256").to_jwk(p256.public_key())) | {"kid": "p256"},
        json.loads(jwt.get_algorithm_by_name("ES384").to_jwk(p384.public_key())) | {"kid": "p384", "alg": "ES384"},
        json.loads(jwt.get_algorithm_by_name("EdDSA").to_jwk(ed.public_key())) | {"kid": "ed"},
    ]
}


def key_for(algorithm):
    return KEYS.get(algorithm, KEYS.get(algorithm[:2]))


def kid_for(algorithm):
    return {"RS": "rsa", "ES256": "p256", "ES384": "p384", "EdDSA": "ed"}.get(
        algorithm, "rsa" if algorithm.startswith("RS") else "secret"
    )


BASE = {"sub": "42", "exp": NOW + 60, "iat": NOW - 1, "jti": "t-1"}
FULL = BASE | {
    "nbf": NOW - 1,
    "aud": ["edge", "other"],
    "iss": "https://issuer.example",
    "tenant": "acme",
    "info": {"name": "Zoë"},
    "channels": ["news", "chat:1"],
    "subs": {
        "feed": {
            "info": {"role": "x"},
            "b64data": base64.b64encode(b'{"hello": 1}').decode(),
            "override": {"presence": {"value": True}, "force_recovery": {"value": False}},
        }
    },
    "meta": {"plan": "gold"},
    "expire_at": NOW + 600,
    "caps": [
        {"channels": ["news:*"], "match": "wildcard", "allow": ["sub", "hst"]},
        {"channels": ["user_42"], "allow": ["pub", "prs"]},
    ],
}
SUBSCRIPTION = BASE | {
    "channel": "$chat:1",
    "client": "c-1",
    "b64info": base64.b64encode(b'{"n": 1}').decode(),
    "override": {
        "join_leave": {"value": True},
        "force_push_join_leave": {"value": True},
        "force_positioning": {"value": True},
    },
    "expire_at": 0,
    "allow": ["pub", "prs"],
}

vectors = []


def add(name, claims, algorithm="HS256", key=None, kind="connection", expect="ok", headers=None):
    token = jwt.encode(claims, key or key_for(algorithm), algorithm=algorithm, headers=headers)
    vectors.append({"name": name, "kind": kind, "expect": expect, "token": token})


for one in ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "EdDSA"]:
    add(f"plain {one}", BASE, one)
    add(f"full {one} with kid", FULL, one, headers={"kid": kid_for(one)})
    add(f"subscription {one}", SUBSCRIPTION, one, kind="subscription")
add("previous secret", BASE, key=PREVIOUS)
add("other secret", BASE, key=b"x" * 64, expect="bad_signature")
add("other RSA padding", BASE, "PS256", key=rsa, expect="algorithm_not_allowed")
add("curve without a key", BASE, "ES512", key=ec.derive_private_key(5, ec.SECP521R1()), expect="algorithm_not_allowed")
add("no algorithm", BASE, "none", expect="algorithm_not_allowed")
add("unknown kid", BASE, "RS256", headers={"kid": "gone"}, expect="unknown_key")
add("kid of another key", BASE, "RS256", headers={"kid": "p256"}, expect="algorithm_not_allowed")
add("audience as a text", BASE | {"aud": "edge"})
add("expired", BASE | {"exp": NOW - 60}, expect="expired")
add("expired just within the leeway", BASE | {"exp": NOW - 4})
add("no end", {"sub": "42"}, expect="no_end")
add("not yet valid", BASE | {"nbf": NOW + 60}, expect="not_yet_valid")
add("from the future", BASE | {"iat": NOW + 60}, expect="issued_in_future")
add("ends too late", BASE | {"exp": NOW + 10**9}, expect="too_long_lived")
add("end with a fraction", BASE | {"exp": NOW + 0.5})
add("subscription to connect", SUBSCRIPTION, expect="wrong_kind")
add("connection to subscribe", BASE, kind="subscription", expect="wrong_kind")

json.dump(
    {
        "made_by": f"PyJWT {jwt.__version__}",
        "now": NOW,
        "secret": base64.b64encode(SECRET).decode(),
        "previous": base64.b64encode(PREVIOUS).decode(),
        "pems": {"RS": pem(rsa), "ES256": pem(p256), "ES384": pem(p384), "EdDSA": pem(ed)},
        "jwks": JWKS,
        "vectors": vectors,
    },
    sys.stdout,
    indent=1,
    ensure_ascii=False,
)
print()
