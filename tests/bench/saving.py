"""``python -m tests.bench.saving``: a process that saves plain pages, one by one or in bulk, with
triggers or without."""

from __future__ import annotations

import time

import django
from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat

from tests.bench.subject import serve

#: What a trigger that may look at the rows costs, when it does not: there is no less.
_EMPTY = """
    CREATE FUNCTION bench_empty() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER bench_empty AFTER UPDATE ON cms_page
        REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION bench_empty();
    CREATE TRIGGER bench_empty AFTER UPDATE ON cms_pageurl
        REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION bench_empty();
"""


def triggers(kind: str) -> None:
    """Have no triggers, those of the package, or empty ones."""
    from cms_urlreload_pg import triggers

    triggers.uninstall(connection)
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION IF EXISTS bench_empty CASCADE")
        if kind == "empty":
            cursor.execute(_EMPTY)
    if kind == "ours":
        triggers.install(connection, "apphooks")


def save(count: int) -> float:
    """Save a plain page so many times; return the seconds that one takes, as the median."""
    from cms.models import Page

    page = Page.objects.filter(reverse_id__startswith="plain-").first()
    times = []
    for number in range(count + 5):
        page.changed_by = f"editor {number}"
        began = time.perf_counter()
        with transaction.atomic():
            page.save()
        times.append(time.perf_counter() - began)
    # Those of the first few that do what a connection does once are left out.
    return sorted(times[5:])[count // 2]


def update(suffix: str) -> float:
    """Give all plain URLs another path in one statement; return the seconds that it takes."""
    from cms.models import PageUrl

    rows = PageUrl.objects.filter(slug__startswith="plain-")
    _vacuum()
    began = time.perf_counter()
    with transaction.atomic():
        rows.update(path=Concat(F("slug"), Value(suffix)))
    return time.perf_counter() - began


def _vacuum() -> None:
    # Each update leaves a dead row behind; what is measured is to find as many each time.
    with connection.cursor() as cursor:
        cursor.execute("VACUUM cms_pageurl")


if __name__ == "__main__":
    django.setup()
    serve({"triggers": triggers, "save": save, "update": update})
