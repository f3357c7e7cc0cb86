"""A WSGI application whose code asks for fresh URLs before there is any worker: where a process
may listen that forks others, it does so at that moment."""

from __future__ import annotations

import sys

from django.core.wsgi import get_wsgi_application
from django.db import connections

from tests.support.waiting import wait_until

application = get_wsgi_application()

from cms_urlreload import process  # noqa: E402  # its models are loaded by now
from cms_urlreload.tasks import ensure_fresh  # noqa: E402

ensure_fresh()
connections.close_all()
if "uwsgi" not in sys.modules:
    transport: object = process.get_transport()
    wait_until(lambda: getattr(transport, "is_healthy", False), 20, "this process to listen")
