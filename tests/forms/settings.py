"""Settings of the driver: the demo site, whose requests may choose their urlconf."""

from tests.demo.settings import *  # noqa: F403
from tests.demo.settings import MIDDLEWARE as _MIDDLEWARE

MIDDLEWARE = ["tests.forms.driver.UrlconfOfRequest", *_MIDDLEWARE]
# The driver refreshes by itself; the polls of requests would hide when it does not.
CMS_URLRELOAD = {"POLL_INTERVAL": 3600}
ROOT_URLCONF = "form_root"
ALLOWED_HOSTS = ["*"]
