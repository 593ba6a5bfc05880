"""The support desk: customers ask in a chat, agents claim and answer.

It knows HTTP and SQLite and nothing of NATS: every event comes and goes through `campana sidecar`.
"""

VERSION = "0.1.0"
