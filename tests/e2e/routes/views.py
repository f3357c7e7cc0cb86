"""Shows what this process serves of an app, as one state."""

from __future__ import annotations

import os
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import NoReverseMatch, Resolver404, resolve, reverse
from django.utils.translation import override

LANGUAGES = ("en", "de")


def served(request: HttpRequest) -> JsonResponse:
    """For a name such as ``news:story-list``: in each language its URL, and the namespace and the
    keywords that this leads to; and the process. Asks the database nothing.

    Other URLs may be published while it reads, so it reads until two readings agree. Where no
    value comes back after it was another, what they agree on was there at one moment.
    """
    name = request.GET["name"]
    reading, before = _read(name), None
    while reading != before:
        reading, before = _read(name), reading
    return JsonResponse({"pid": os.getpid(), "served": reading})


def _read(name: str) -> dict[str, Any]:
    return {language: _read_one(name, language) for language in LANGUAGES}


def _read_one(name: str, language: str) -> Any:
    with override(language):
        try:
            url = reverse(name)
            match = resolve(url)
        except (NoReverseMatch, Resolver404) as error:
            return type(error).__name__
    return [url, match.namespace, {k: list(v) for k, v in match.kwargs.items()}]
