"""In which schema the pages are found: by requests, always in the same, and by the listener in
that one too. A middleware or a view that sets another ``search_path`` for some requests would have
them answered by the URLs of others. No connection.
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

from cms_urlreload.conf import SETTING

#: What an operator looks at if the listener's connection finds other tables than requests do.
TO_OTHER_TABLES = (
    f"{SETTING}['LISTEN_DSN'], or the role or the search_path of the listener's connection, leads "
    "to other tables than those of the site"
)


class Schemas:
    """Of one process. Any thread may call any method."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def found(self, alias: str, schema: str) -> None:
        """Take note of where a request, or another caller, found the pages.

        :raises ImproperlyConfigured: if it was elsewhere before.
        """
        first = self._found.setdefault(alias, schema)
        if schema != first:
            raise ImproperlyConfigured(
                f"The pages in the database {alias!r} were found in the schema {first!r} before, "
                f"and now in {schema!r}: the search_path is set for each request, and a process "
                "has the URLs of one schema. Use cms.middleware.utils.ApphookReloadMiddleware "
                "instead of this package. (If the schema was changed once, restart this process.)"
            )

    def trouble_with(self, schema: str) -> str | None:
        """Return what is wrong with where the listener finds the pages, if anything."""
        others = sorted(set(self._found.values()))
        if not others or schema in others:
            return None
        return (
            f"the listener finds the pages in the schema {schema!r}, and requests in "
            f"{', '.join(map(repr, others))}; {TO_OTHER_TABLES}"
        )
