"""A row that was created is sent to its user's group, as Channels' documentation does it outside of consumers.

The row is committed by then: Django commits each statement unless told otherwise.
"""

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db.models.signals import post_save
from django.dispatch import receiver

from notify.frames import frame_of
from notify.groups import group_of
from notify.models import Notification


@receiver(post_save, sender=Notification)
def tell_the_browser(sender, instance, created, **kwargs):
    if created:
        message = {"type": "push.frame", "frame": frame_of(instance)}
        async_to_sync(get_channel_layer().group_send)(group_of(instance.user), message)
