"""The demo site on a primary and a standby: it reads from the one and writes to the other."""

import os
from typing import Any

from tests.demo.settings import *  # noqa: F403
from tests.demo.settings import DATABASES, database_from_url

DATABASES["replica"] = database_from_url(os.environ["DEMO_REPLICA_URL"])
DATABASE_ROUTERS = ["tests.e2e.replica_settings.ReadFromReplica"]


class ReadFromReplica:
    """Pages are read from the replica; logins and sessions, which are written, are not."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "replica" if model._meta.app_label == "cms" else None

    def allow_relation(self, *objects: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, *args: Any, **hints: Any) -> bool:
        return db == "default"
