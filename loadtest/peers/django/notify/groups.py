"""Names that both sides of the channel layer use.

A group's name has at most 99 of a few ASCII characters, a user's name may be anything: hence the digest.
"""

import hashlib


def group_of(user: str) -> str:
    return "user." + hashlib.blake2b(user.encode(), digest_size=16).hexdigest()


def channel_of(user: str) -> str:
    return f"inbox:#{user}"
