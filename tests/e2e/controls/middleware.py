"""Answers one URL by itself, and so tells what the middleware before it do to a request."""

from __future__ import annotations

import os
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse


class AliveMiddleware:
    """Answers ``/controls/alive/``."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/controls/alive/":
            return JsonResponse({"pid": os.getpid()})
        return self.get_response(request)
