"""Settings of the peer as documented: what `django-admin startproject` writes, and for PostgreSQL and Channels
what their documentation adds.

Reads: the environment that serve.py prepares. Writes: nothing.
"""

import os

from notify.settings import (  # noqa: F401
    ALLOWED_HOSTS,
    API_KEY,
    CHANNEL_LAYERS,
    DEBUG,
    DEFAULT_AUTO_FIELD,
    EDGE_WS,
    SECRET_KEY,
    USE_TZ,
)

INSTALLED_APPS = [
    "channels",
    "notify",
    "documented",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
# startproject's, all of it; the view is exempt from CSRF, as for an API with keys.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "documented.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
STATIC_URL = "static/"
REQUEST_RECEIVERS = True

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": "postgres",
        "HOST": "127.0.0.1",
        "PORT": os.environ["PEER_DATABASE"],
        # Without a pool every request makes a connection, which is a process of PostgreSQL's.
        "OPTIONS": {"pool": {"min_size": 4, "max_size": 32}},
    }
}
