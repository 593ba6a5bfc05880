"""The application, with the place where Django's documentation connects signals."""

from django.apps import AppConfig


class DocumentedConfig(AppConfig):
    name = "documented"

    def ready(self):
        from documented import signals  # noqa: F401
