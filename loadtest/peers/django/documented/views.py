"""The HTTP side as Django's documentation writes one: a synchronous view that creates rows with the ORM.

Reads: requests. Writes: a row for each recipient; the browsers are told by signals.py.
"""

from django.http import JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from notify.models import Notification
from notify.requests import allowed, new_uid, wanted


# A bearer key instead of a cookie: there is no session that another site could use.
@csrf_exempt
@require_POST
def notifications(request):
    if not allowed(request):
        return JsonResponse({"title": "wrong key"}, status=401)
    asked = wanted(request)
    if asked is None:
        problem = "recipients with an id and inline content are needed"
        return JsonResponse({"title": problem}, status=400)
    users, title, body = asked
    uid = new_uid()
    for user in users:
        Notification.objects.create(uid=uid, user=user, title=title, body=body)
    return JsonResponse({"id": uid, "status": "accepted"}, status=202)
