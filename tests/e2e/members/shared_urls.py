"""URLs of two apphooks: one includes them with an argument, and one as they are."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def shared(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    return HttpResponse(str(kwargs))


deep = [path("", shared, name="deep")]
urlpatterns = [path("", shared, name="shared"), path("deep/", include(deep))]
