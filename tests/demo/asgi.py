"""The ASGI application of the demo site."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.demo.settings")

application = get_asgi_application()
