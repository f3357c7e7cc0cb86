"""The demo site for the tests of servers and poolers: with several hosts, with a second address of
its database, and with a URL whose answer needs nothing but the middleware of this package."""

import json
import os

from tests.demo.settings import *  # noqa: F403
from tests.demo.settings import DATABASES, MIDDLEWARE, database_from_url

DATABASES["default"].update(json.loads(os.environ.get("E2E_DATABASE", "{}")))
if url := os.environ.get("E2E_DIRECT_URL"):
    DATABASES["direct"] = database_from_url(url)

# Right behind ours. What follows asks the database at a process's first request, for its site.
_ours = MIDDLEWARE.index("cms_urlreload.middleware.UrlReloadMiddleware")
MIDDLEWARE = [
    *MIDDLEWARE[: _ours + 1],
    "tests.e2e.controls.middleware.AliveMiddleware",
    *MIDDLEWARE[_ours + 1 :],
]
