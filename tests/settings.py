"""Settings of the tests that run in pytest's own process: those of the demo site, and a second
database of another kind."""

from tests.demo.settings import *  # noqa: F403
from tests.demo.settings import DATABASES

DATABASES["lite"] = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": ":memory:",
    # Tables as the models have them. A migration of django CMS 4.1 (0030) reads the pages of the
    # default database, whichever one it migrates, so it has no second one.
    "TEST": {"MIGRATE": False},
}
