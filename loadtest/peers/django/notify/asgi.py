"""The application that uvicorn's workers load, in the shape that DJANGO_SETTINGS_MODULE chooses."""

import ctypes
import signal

# A worker must not outlive the process that supervises it, however that one ends: prctl(2), PR_SET_PDEATHSIG.
ctypes.CDLL(None).prctl(1, signal.SIGKILL)

from django.core.asgi import get_asgi_application

http = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries
from django.urls import path

from notify.consumers import Bell

if not settings.REQUEST_RECEIVERS:
    # They would take a thread for every request, to look after connections that this thread does not use.
    for moment, receiver in [
        (request_started, reset_queries),
        (request_started, close_old_connections),
        (request_finished, close_old_connections),
    ]:
        moment.disconnect(receiver)

websocket = URLRouter([path("connection/websocket", Bell.as_asgi())])
application = ProtocolTypeRouter({"http": http, "websocket": websocket})
