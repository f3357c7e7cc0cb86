"""The demo site with permissions by page, and with a cache that all workers share."""

import os

from tests.demo.settings import *  # noqa: F403
from tests.demo.settings import INSTALLED_APPS

INSTALLED_APPS += ["tests.e2e.members"]
if "MEMBERS_EARLY" in os.environ:
    INSTALLED_APPS.insert(0, "tests.e2e.early")
if "MEMBERS_BEFORE_CMS" in os.environ:
    INSTALLED_APPS.remove("cms_urlreload")
    INSTALLED_APPS.insert(0, "cms_urlreload")
CMS_PERMISSION = True
CMS_PUBLIC_FOR = os.environ.get("MEMBERS_PUBLIC_FOR", "all")

if "MEMBERS_CACHE" in os.environ:
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": os.environ["MEMBERS_CACHE"],
        }
    }
    CMS_PLACEHOLDER_CACHE = True
    CMS_CACHE_DURATIONS = {"content": 3600, "menus": 3600, "permissions": 3600}
