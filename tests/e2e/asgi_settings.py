"""The demo site under ASGI, with each hop into a thread counted. Without the middleware of django
CMS, if the environment says so: some of that is synchronous, so Django runs all that is around it
in one thread, and a request never sees the event loop before its view.
"""

import os

from tests.demo.settings import *  # noqa: F403
from tests.demo.settings import MIDDLEWARE as DEMO_MIDDLEWARE

OF_DJANGO_CMS = {
    "cms.middleware.user.CurrentUserMiddleware",
    "cms.middleware.page.CurrentPageMiddleware",
    "cms.middleware.toolbar.ToolbarMiddleware",
    "cms.middleware.language.LanguageCookieMiddleware",
}
LEFT_OUT = OF_DJANGO_CMS if os.environ["ASGI_ALL_ASYNC"] else set()
MIDDLEWARE = [
    "tests.e2e.hops.HopsMiddleware",
    *(path for path in DEMO_MIDDLEWARE if path not in LEFT_OUT),
]
