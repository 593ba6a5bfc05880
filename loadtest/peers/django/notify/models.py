"""The one table: a row per notification and recipient, as such applications keep for the list behind the bell."""

from django.db import models


class Notification(models.Model):
    uid = models.CharField(max_length=40, db_index=True)
    user = models.CharField(max_length=255, db_index=True)
    title = models.TextField()
    body = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    read_at = models.DateTimeField(null=True)
