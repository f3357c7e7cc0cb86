"""The demo site with its tables in a schema that its requests set, by hand: DEMO_SCHEMA_BY says
how."""

import os
from collections.abc import Callable
from typing import Any

from django.db import connection
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse

from tests.demo.settings import *  # noqa: F403
from tests.demo.settings import DATABASES, INSTALLED_APPS, MIDDLEWARE


class SchemaMiddleware:
    """Each request says which schema it wants."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with connection.cursor() as cursor:
            name = request.headers.get("X-Schema", "public")
            cursor.execute("SELECT set_config('search_path', %s, false)", [name])
        return self.get_response(request)


def on_connection_created(connection: Any, **kwargs: Any) -> None:
    """All connections of Django's are alike."""
    with connection.cursor() as cursor:
        cursor.execute("SET search_path = other")


if os.environ["DEMO_SCHEMA_BY"] == "middleware":
    MIDDLEWARE.insert(0, "tests.e2e.schema_settings.SchemaMiddleware")
elif os.environ["DEMO_SCHEMA_BY"] == "signal":
    connection_created.connect(on_connection_created)
elif os.environ["DEMO_SCHEMA_BY"] == "engine":
    DATABASES["default"]["ENGINE"] = "tests.e2e.tenant_engine"
    INSTALLED_APPS.remove("cms_urlreload_pg")  # it is not what refuses
