"""PostgreSQL, with another schema for each request."""

from __future__ import annotations

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Knows its schema."""

    def set_schema(self, name: str) -> None:
        with self.cursor() as cursor:
            cursor.execute("SELECT set_config('search_path', %s, false)", [name])
