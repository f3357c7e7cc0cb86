"""Views outside of django CMS: which worker answers, with as little as possible around it."""

from __future__ import annotations

import os
import threading

from django.http import HttpRequest, JsonResponse


def ping(request: HttpRequest) -> JsonResponse:
    """No database, no session."""
    return JsonResponse({"pid": os.getpid()})


async def aping(request: HttpRequest) -> JsonResponse:
    """The same in the event loop."""
    return JsonResponse({"pid": os.getpid()})


def whoami(request: HttpRequest) -> JsonResponse:
    """The worker, its threads, and the user (which asks the database if there is a session)."""
    threads = sorted(thread.name for thread in threading.enumerate())
    user = request.user.get_username()
    return JsonResponse({"pid": os.getpid(), "user": user, "threads": threads})
