"""What a test asks a worker to do."""

from __future__ import annotations

import ctypes
from typing import Any

from cms.models import Page
from cms.signals.apphook import set_restart_trigger
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import NoReverseMatch, path, reverse
from django.utils.translation import override


def change_in_transaction(request: HttpRequest) -> HttpResponse:
    """Change a page in a transaction that stays open for as long as somebody holds an advisory
    lock; then commit, or roll back."""
    with transaction.atomic():
        page = Page.objects.get(pk=request.GET["page"])
        url = page.urls.get(language="en")
        url.path = request.GET["path"]
        url.save()
        set_restart_trigger()  # as django CMS's admin does, inside of its transaction
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(1)")
        if request.GET["end"] == "rollback":
            transaction.set_rollback(True)
    return HttpResponse(request.GET["end"])


def stand_still(request: HttpRequest) -> HttpResponse:
    """Run a command of the shell in a C call that keeps the GIL: no other thread runs meanwhile."""
    ctypes.PyDLL(None).system(request.GET["command"].encode())
    return HttpResponse("done")


def append(request: HttpRequest) -> HttpResponse:
    """Append a URL to the root urlconf, at run time."""
    from tests.e2e.controls import urls

    urls.urlpatterns.append(path("appended/", appended, name="appended"))
    return HttpResponse("done")


def appended(request: HttpRequest) -> HttpResponse:
    return HttpResponse("appended")


def say(request: HttpRequest, word: str) -> HttpResponse:
    """What the apphooks of the controls answer."""
    return HttpResponse(word)


def reversed_name(request: HttpRequest) -> JsonResponse:
    """Reverse a name, as templates and menus do."""
    with override("en"):
        try:
            url: Any = reverse(request.GET["name"])
        except NoReverseMatch:
            url = None
    return JsonResponse({"url": url})


async def async_reversed_name(request: HttpRequest) -> JsonResponse:
    """The same in the event loop."""
    return reversed_name(request)
