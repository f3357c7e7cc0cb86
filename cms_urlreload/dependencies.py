"""Which migrations of other apps ours depend on, in the site that they run in.

MIGRATION_MODULES may switch off the migrations of an app, as test settings do, or put others in
their place. A migration that is not there cannot be depended on by its name.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

from django.db import migrations
from django.db.migrations.loader import MigrationLoader


class Migration(migrations.Migration):
    """A migration whose dependencies are the named ones where the site has them. Else they are
    "__first__": Django leaves that out for an app without migrations."""

    def __init__(self, name: str, app_label: str) -> None:
        super().__init__(name, app_label)
        # For each graph anew, and not at import: Django's test runner switches migrations off for
        # a database with TEST["MIGRATE"] = False, and on again for the next.
        self.dependencies = [  # type: ignore[misc]  # of the instance, as Django's own are
            (label, wanted if has_migration(label, wanted) else "__first__")
            for label, wanted in self.dependencies
        ]


def has_migration(app_label: str, name: str) -> bool:
    """Whether this site's migrations of an app include this one, or one that replaces it."""
    return (app_label, name) in _migrations(app_label)


def _migrations(app_label: str) -> Iterator[tuple[str, str]]:
    package, _ = MigrationLoader.migrations_module(app_label)
    if package is None:
        return
    try:
        path = getattr(import_module(package), "__path__", [])
    except ModuleNotFoundError:
        return  # as Django sees it; and makemigrations is about to make the package
    # The same selection as in MigrationLoader.load_disk().
    for _, name, is_package in pkgutil.iter_modules(path):
        if not is_package and name[0] not in "_~":
            yield app_label, name
            migration = getattr(import_module(f"{package}.{name}"), "Migration", None)
            yield from getattr(migration, "replaces", ())
