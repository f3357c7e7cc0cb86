"""The demo site as the benchmarks run it: one rival reloads its URLs, among the demo's other
middleware or alone.
"""

from __future__ import annotations

import os

from tests.demo.settings import *  # noqa: F403
from tests.demo.settings import DATABASES, INSTALLED_APPS, MIDDLEWARE, RELOAD_MIDDLEWARE

_reload = list(RELOAD_MIDDLEWARE)
if "BENCH_ALDRYN" in os.environ:
    INSTALLED_APPS = [*INSTALLED_APPS, "tests.bench.aldryn.apps.AldrynApphookReloadConfig"]
    _reload = ["tests.bench.aldryn.middleware.ApphookReloadMiddleware"]

# Where each of them belongs: above all that resolves URLs.
_others = [name for name in MIDDLEWARE if name not in RELOAD_MIDDLEWARE]
MIDDLEWARE = _reload if "BENCH_BARE" in os.environ else [_others[0], *_reload, *_others[1:]]

if "BENCH_POOL" in os.environ:
    # Under ASGI a connection that is kept belongs to a thread that is gone; Django's documentation
    # has this in its place.
    DATABASES["default"]["CONN_MAX_AGE"] = 0
    DATABASES["default"]["OPTIONS"]["pool"] = True
