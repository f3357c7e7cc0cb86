"""The demo site with no middleware but this package's. Under ASGI, each of Django's own has a part
of its work done in a thread, for each request.
"""

from tests.demo.settings import *  # noqa: F403
from tests.demo.settings import RELOAD_MIDDLEWARE

MIDDLEWARE = ["tests.demo.middleware.WorkerPidMiddleware", *RELOAD_MIDDLEWARE]
