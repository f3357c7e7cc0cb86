"""The demo site with a router that picks a replica at random, as the one in Django's documentation
does."""

import os
import random
from typing import Any

from tests.demo.settings import *  # noqa: F403
from tests.demo.settings import DATABASES, database_from_url

REPLICAS = [f"replica{number}" for number in range(len(os.environ["DEMO_REPLICA_URLS"].split()))]
for alias, url in zip(REPLICAS, os.environ["DEMO_REPLICA_URLS"].split(), strict=True):
    DATABASES[alias] = database_from_url(url)
DATABASE_ROUTERS = ["tests.e2e.random_replica_settings.PrimaryReplicaRouter"]


class PrimaryReplicaRouter:
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return random.choice(REPLICAS)

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"

    def allow_relation(self, *objects: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, *args: Any, **hints: Any) -> bool:
        return db == "default"
