"""A WSGI application whose URLs are built, and then change, before there is any worker."""

from __future__ import annotations

import os

import psycopg
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.urls import reverse
from django.utils.translation import override

application = get_wsgi_application()

with override("en"):
    assert reverse("news:story-list") == "/en/news/"
connections.close_all()
with psycopg.connect(os.environ["DEMO_DATABASE_URL"]) as connection:
    connection.execute(
        "UPDATE cms_pageurl SET path = 'changed' WHERE path = 'news' AND language = 'en'"
    )
