"""Settings of the driver: the demo site, whose requests may choose their urlconf."""

from tests.demo.settings import *  # noqa: F403
from tests.demo.settings import MIDDLEWARE as _MIDDLEWARE

# Ours is not in: one process refreshes by itself, and those beside it are django CMS alone.
MIDDLEWARE = [
    "tests.forms.driver.UrlconfOfRequest",
    *(path for path in _MIDDLEWARE if not path.startswith("cms_urlreload.")),
]
ROOT_URLCONF = "form_root"
ALLOWED_HOSTS = ["*"]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
