"""django CMS's own test settings; where CMS_SUITE_PACKAGE is set, with this package in."""

import os

from cms.tests.settings import *  # noqa: F403
from cms.tests.settings import INSTALLED_APPS, MIDDLEWARE

if os.environ.get("CMS_SUITE_PACKAGE"):
    INSTALLED_APPS = [*INSTALLED_APPS, "cms_urlreload", "cms_urlreload_pg"]
    MIDDLEWARE = ["cms_urlreload.middleware.UrlReloadMiddleware", *MIDDLEWARE]

TEST_RUNNER = "tests.cms_suite.runner.RecordingRunner"
