"""Offers the transport for PostgreSQL to the core. Starts no thread and makes no query."""

from functools import partial
from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class CmsUrlReloadPgConfig(AppConfig):
    """The app ``cms_urlreload_pg``."""

    name = "cms_urlreload_pg"
    verbose_name = "Apphook URLs: push by PostgreSQL"

    def ready(self) -> None:
        """Called by Django once all models are loaded."""
        from cms_urlreload.transports import PollingTransport, register

        from . import checks, driver

        checks.register_all()
        post_migrate.connect(on_post_migrate, sender=self)
        # psycopg is imported here and not when the listener starts: a fork in the middle of that
        # import would leave the child with half of it.
        trouble = driver.missing()
        if trouble is not None:
            reason = f"cms_urlreload_pg cannot listen: {trouble}."
            register("postgresql", partial(PollingTransport, reason=reason, remedy=driver.REMEDY))
            return
        from .transport import PostgresTransport

        register("postgresql", PostgresTransport)


def on_post_migrate(**kwargs: Any) -> None:
    """Called by ``migrate``; what it needs is not imported by other commands and workers."""
    from . import upkeep

    upkeep.on_post_migrate(**kwargs)
