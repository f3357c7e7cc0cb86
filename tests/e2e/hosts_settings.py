"""The demo site with django-hosts: another urlconf for each host name."""

from tests.demo.settings import *  # noqa: F403
from tests.demo.settings import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS += ["django_hosts"]
MIDDLEWARE.insert(0, "django_hosts.middleware.HostsRequestMiddleware")
MIDDLEWARE.append("django_hosts.middleware.HostsResponseMiddleware")
ROOT_HOSTCONF = "tests.e2e.hosts"
DEFAULT_HOST = "www"
