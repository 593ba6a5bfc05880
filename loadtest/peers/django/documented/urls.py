"""Which address is answered by what; tokens and readiness are the tuned peer's, nothing of them is measured."""

from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from documented import views
from notify.views import ready, tokens

urlpatterns = [
    path("readyz", ready),
    path("v1/tokens", csrf_exempt(tokens)),
    path("v1/notifications", views.notifications),
]
