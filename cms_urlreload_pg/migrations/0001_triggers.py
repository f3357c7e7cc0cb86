"""Puts the triggers into a PostgreSQL database, and takes them out. See ``triggers.py``."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations

from cms_urlreload import dependencies
from cms_urlreload_pg import upkeep


def put_in(apps: Any, schema_editor: Any) -> None:
    """Forwards."""
    upkeep.put_in(schema_editor.connection)


def take_out(apps: Any, schema_editor: Any) -> None:
    """Backwards."""
    upkeep.take_out(schema_editor.connection)


class Migration(dependencies.Migration):
    """No models; see the module."""

    # The tables have been there since; what later migrations of django CMS do to them, the
    # triggers survive. Not "__latest__": that would be another one after each upgrade.
    dependencies: ClassVar = [("cms", "0034_remove_pagecontent_placeholders")]

    operations: ClassVar = [migrations.RunPython(put_in, take_out, elidable=False)]
