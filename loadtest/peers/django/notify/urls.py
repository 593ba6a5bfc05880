"""Which address is answered by what."""

from django.urls import path

from notify import views

urlpatterns = [
    path("readyz", views.ready),
    path("v1/tokens", views.tokens),
    path("v1/notifications", views.notifications),
]
