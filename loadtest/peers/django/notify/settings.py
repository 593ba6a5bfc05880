"""Settings of the tuned peer: Django reduced to what such an application needs, tuned as README.md says.

Reads: the environment that serve.py prepares. Writes: nothing.
"""

import os

SECRET_KEY = os.environ["PEER_TOKEN_KEY"]
API_KEY = os.environ["PEER_API_KEY"]
EDGE_WS = os.environ["PEER_EDGE_WS"]
DEBUG = False
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["notify"]
# Each middleware costs every request; none of Django's is needed by an API with bearer keys.
MIDDLEWARE = []
ROOT_URLCONF = "notify.urls"
# Whether Django looks after database connections at both ends of a request.
REQUEST_RECEIVERS = False
USE_TZ = True
USE_I18N = False
LOGGING_CONFIG = None
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["PEER_DATABASE"],
        # The thread pool that writes keeps its connections.
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
        },
    }
}

LAYERS = {
    "pubsub": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [os.environ["PEER_REDIS"]]},
    },
    "core": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        # 100 by default, above which messages are dropped without a word.
        "CONFIG": {"hosts": [os.environ["PEER_REDIS"]], "capacity": 100_000, "expiry": 60},
    },
}
CHANNEL_LAYERS = {"default": LAYERS[os.environ["PEER_LAYER"]]}
