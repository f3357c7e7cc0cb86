"""Settings of the tests that run in pytest's own process: those of the demo site, and a second
database of another kind."""

from tests.demo.settings import *  # noqa: F403
from tests.demo.settings import DATABASES

DATABASES["lite"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
