"""What our migrations depend on. Sites with other migrations: tests/e2e/test_migrations.py."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.migrations.loader import MigrationLoader

from cms_urlreload.dependencies import has_migration

NEEDED = ("cms", "0034_remove_pagecontent_placeholders")
OURS = {"cms_urlreload": "0001_permissions", "cms_urlreload_pg": "0001_triggers"}


def dependency_on_cms(app: str) -> Any:
    migration = MigrationLoader(None).disk_migrations[app, OURS[app]]
    [found] = [dependency for dependency in migration.dependencies if dependency[0] == "cms"]
    return found


@pytest.mark.parametrize("app", OURS)
def test_dependency__follows_settings__within_one_process(app: str, settings: Any) -> None:
    assert dependency_on_cms(app) == NEEDED
    settings.MIGRATION_MODULES = dict.fromkeys(["cms", "auth", "contenttypes", "sites"])
    assert dependency_on_cms(app) == ("cms", "__first__")
    settings.MIGRATION_MODULES = {}
    assert dependency_on_cms(app) == NEEDED


def test_has_migration__is_false__without_a_package(settings: Any) -> None:
    assert has_migration(*NEEDED)
    assert not has_migration("cms", "0034")
    assert not has_migration("sekizai", "0001_initial")  # an app without migrations
    for module in (None, "nowhere", "cms.models.pluginmodel"):
        settings.MIGRATION_MODULES = {"cms": module}
        assert not has_migration(*NEEDED)
