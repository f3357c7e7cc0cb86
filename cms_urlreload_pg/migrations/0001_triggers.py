"""Puts the triggers into a PostgreSQL database, and takes them out. See ``triggers.py``."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations

from cms_urlreload_pg import upkeep


def put_in(apps: Any, schema_editor: Any) -> None:
    """Forwards."""
    upkeep.put_in(schema_editor.connection)


def take_out(apps: Any, schema_editor: Any) -> None:
    """Backwards."""
    upkeep.take_out(schema_editor.connection)


class Migration(migrations.Migration):
    """No models; see the module."""

    # None on django CMS: a site whose test settings switch off its migrations could not load the
    # graph. Tables that are not there yet get their triggers once they are: see upkeep.py.
    dependencies: ClassVar = []

    operations: ClassVar = [migrations.RunPython(put_in, take_out, elidable=False)]
