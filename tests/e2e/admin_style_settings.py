"""The demo site with djangocms-admin-style, which must come before Django's admin."""

from tests.demo.settings import *  # noqa: F403
from tests.demo.settings import INSTALLED_APPS

INSTALLED_APPS = ["djangocms_admin_style", *INSTALLED_APPS]
