"""The demo site with MIGRATION_MODULES as E2E_MIGRATION_MODULES has them; "all" is the class that
switches off those of every app, as many test settings have it."""

import json
import os
from typing import Any

from tests.demo.settings import *  # noqa: F403
from tests.demo.settings import DATABASES


class DisableMigrations:
    """No dictionary: it has neither keys() nor get()."""

    def __contains__(self, item: str) -> bool:
        return True

    def __getitem__(self, item: str) -> None:
        return None


_modules = json.loads(os.environ.get("E2E_MIGRATION_MODULES", "{}"))
MIGRATION_MODULES: Any = DisableMigrations() if _modules == "all" else _modules
DATABASES["default"]["TEST"] = json.loads(os.environ.get("E2E_TEST_DATABASE", "{}"))
