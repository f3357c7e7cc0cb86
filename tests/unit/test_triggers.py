"""The triggers in a real database: what they announce, what not, and what they survive."""

from __future__ import annotations

import logging
import select
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from cms.models import Page, PageUrl
from cms.utils.apphook_reload import mark_urlconf_as_changed
from django.core.checks import Tags, run_checks
from django.core.management import call_command
from django.db import connection, transaction

from cms_urlreload_pg import triggers
from tests.support.versions import site_of_url, tree_model, tree_row

from .conftest import dsn

pytestmark = pytest.mark.django_db(transaction=True)


class Ear:
    """A connection that listens."""

    def __init__(self, own: psycopg.Connection) -> None:
        self._connection = own
        own.execute("LISTEN apphooks")

    def heard(self) -> int:
        """How many notifications of triggers there were, since this was last asked."""
        # One of our own comes behind all that were sent before it.
        self._connection.execute("SELECT pg_notify('apphooks', 'end')")
        payloads: list[str] = []
        while "end" not in payloads:
            payloads += [
                each.payload for each in self._connection.notifies(timeout=5, stop_after=1)
            ]
        return payloads.count("trigger")


@pytest.fixture
def ear() -> Iterator[Ear]:
    with psycopg.connect(dsn(), autocommit=True, client_encoding="UTF8") as own:
        yield Ear(own)


@pytest.fixture
def pages(ear: Ear, make_page: Any) -> dict[str, Any]:
    parent = make_page("parent")
    pages = {
        "parent": parent,
        "plain": make_page("plain"),
        "beside": make_page("beside"),
        "news": make_page("news", "NewsApphook", parent=parent),
    }
    ear.heard()
    return {key: Page.objects.get(pk=page.pk) for key, page in pages.items()}


def sql(statement: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "SQL": lambda p: sql("UPDATE cms_pageurl SET path = 'x' WHERE page_id = %s", p["news"].pk),
    "update of a URL": lambda p: p["news"].urls.update(path="x"),
    "update of all URLs": lambda p: PageUrl.objects.update(language="de"),
    "path gone": lambda p: p["news"].urls.update(path=None),
    "bulk_update": lambda p: bulk_update(p["news"]),
    "update of a page": lambda p: p["news"].update(application_namespace="x"),
    "attach": lambda p: p["plain"].update(application_urls="NewsApphook"),
    "detach": lambda p: p["news"].update(application_urls=""),
    "move of the page": lambda p: p["news"].move_page(tree_row(p["plain"]), "left"),
    "move of the parent": lambda p: p["parent"].move_page(tree_row(p["plain"]), "last-child"),
    "raw delete of a URL": lambda p: p["news"].urls.all()._raw_delete("default"),
    "delete of the parent": lambda p: p["parent"].delete(),
    "truncate": lambda p: sql("TRUNCATE cms_pageurl"),
    "a revision": lambda p: mark_urlconf_as_changed(),
    "url inserted": lambda p: PageUrl.objects.bulk_create(
        [PageUrl(page=p["news"], language="de", slug="x", path="x", **site_of_url(1))]
    ),
}


def bulk_update(page: Any) -> None:
    [url] = page.urls.all()
    url.path = "x"
    PageUrl.objects.bulk_update([url], ["path"])


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_announced(name: str, pages: Any, ear: Ear) -> None:
    with transaction.atomic():
        CHANGES[name](pages)
        assert ear.heard() == 0  # not before the COMMIT
    assert ear.heard() == 1  # and once


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_is_announced__when_it_is_rolled_back(name: str, pages: Any, ear: Ear) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        CHANGES[name](pages)
        raise ZeroDivisionError
    assert ear.heard() == 0


NO_CHANGES: dict[str, Callable[[Any], Any]] = {
    "plain path": lambda p: p["plain"].urls.update(path="x"),
    "plain page": lambda p: p["plain"].update(reverse_id="x", application_namespace="left over"),
    "plain move": lambda p: p["plain"].move_page(tree_row(p["beside"]), "right"),
    "plain delete": lambda p: p["plain"].delete(),
    "other column": lambda p: p["news"].update(reverse_id="x", login_required=True),
    "the same again": lambda p: p["news"].urls.update(path="parent/news"),
    "slug alone": lambda p: p["news"].urls.update(slug="x"),
    "no rows": lambda p: PageUrl.objects.filter(pk=0).update(path="x"),
}


@pytest.mark.parametrize("name", NO_CHANGES)
def test_nothing_is_announced__when_no_routing_changed(name: str, pages: Any, ear: Ear) -> None:
    with transaction.atomic():
        NO_CHANGES[name](pages)
    assert ear.heard() == 0


def test_a_migration_of_django_cms_may_drop_a_column(pages: Any, ear: Ear) -> None:
    """In the same transaction as changes of rows, as migrations do it."""
    try:
        with transaction.atomic():
            sql("UPDATE cms_pageurl SET path = path || '-1'")
            sql("ALTER TABLE cms_page RENAME application_namespace TO renamed")
            sql("ALTER TABLE cms_page ALTER COLUMN renamed TYPE text")
            sql("UPDATE cms_page SET renamed = 'x'")
            sql("ALTER TABLE cms_page RENAME application_urls TO gone")
            sql("UPDATE cms_page SET gone = 'x'")
            sql("UPDATE cms_pageurl SET path = path || '-2'")
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert ear.heard() == 0
    sql("ALTER TABLE cms_page RENAME application_urls TO gone")
    try:
        sql("UPDATE cms_pageurl SET path = path || '-3'")
        assert ear.heard() == 1  # it cannot be told, so it is announced
    finally:
        sql("ALTER TABLE cms_page RENAME gone TO application_urls")


def test_a_role_that_may_write_and_not_read_the_pages__may_still_write(
    pages: Any, ear: Ear
) -> None:
    sql("DROP ROLE IF EXISTS url_writer")
    sql("CREATE ROLE url_writer")
    sql("GRANT SELECT, UPDATE ON cms_pageurl TO url_writer")
    try:
        with transaction.atomic():
            sql("SET LOCAL ROLE url_writer")
            sql("UPDATE cms_pageurl SET path = path || '-x'")
        assert ear.heard() == 1
    finally:
        sql("DROP OWNED BY url_writer")
        sql("DROP ROLE url_writer")


def test_a_role_that_may_not_notify__may_still_write(pages: Any, ear: Ear) -> None:
    sql("DROP ROLE IF EXISTS silent_writer")
    sql("CREATE ROLE silent_writer")
    sql("GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO silent_writer")
    sql("REVOKE EXECUTE ON FUNCTION pg_notify(text, text) FROM PUBLIC")
    try:
        with transaction.atomic():
            sql("SET LOCAL ROLE silent_writer")
            assert pages["news"].urls.update(path="written") == 1
        assert ear.heard() == 0
        assert pages["news"].urls.get().path == "written"
    finally:
        sql("GRANT EXECUTE ON FUNCTION pg_notify(text, text) TO PUBLIC")
        sql("DROP OWNED BY silent_writer")
        sql("DROP ROLE silent_writer")


@pytest.fixture
def restored() -> Iterator[None]:
    """Whatever the test did, the triggers are as they were."""
    yield
    call_command("migrate", "cms_urlreload_pg", verbosity=0)
    triggers.install(connection, "apphooks")
    assert triggers.missing(connection, "apphooks") == []


def check() -> list[Any]:
    found = run_checks(tags=[Tags.database], databases=["default"])
    return [message for message in found if message.id == "cms_urlreload_pg.W005"]


def test_they_are_in__after_migrate() -> None:
    assert triggers.missing(connection, "apphooks") == []
    assert check() == []


def test_they_are_taken_out_and_put_in_by_the_migration(restored: None) -> None:
    call_command("migrate", "cms_urlreload_pg", "zero", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'cms_urlreload%'")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'cms_urlreload%'")
        assert cursor.fetchone() == (0,)
    [message] = check()
    assert "cms_page, cms_pageurl, " in message.msg
    call_command("migrate", "cms_urlreload_pg", verbosity=0)
    assert triggers.missing(connection, "apphooks") == []


def test_a_function_whose_table_is_gone_is_taken_out_too(restored: None) -> None:
    sql(
        "CREATE OR REPLACE FUNCTION cms_urlreload_cms_treenode() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN RETURN NULL; END'"
    )
    triggers.uninstall(connection)
    with connection.cursor() as cursor:
        cursor.execute("SELECT proname FROM pg_proc WHERE starts_with(proname, 'cms_urlreload')")
        assert cursor.fetchall() == []


def test_they_are_brought_up_to_date_by_migrate(
    restored: None, settings: Any, pages: Any, ear: Ear
) -> None:
    settings.CMS_URLRELOAD = {"CHANNEL": "it's \\ another"}
    assert triggers.missing(connection, "it's \\ another") != []
    assert len(check()) == 1
    call_command("migrate", verbosity=0)
    assert check() == []
    ear._connection.execute('LISTEN "it\'s \\ another"')
    pages["news"].urls.update(path="x")
    assert ear.heard() == 1


def test_one_that_is_switched_off_is_missing(restored: None) -> None:
    sql("ALTER TABLE cms_page DISABLE TRIGGER cms_urlreload_update")
    assert triggers.missing(connection, "apphooks") == ["cms_page"]


def test_a_role_that_may_not_create_them__goes_on_without(
    restored: None, caplog: Any, pages: Any
) -> None:
    call_command("migrate", "cms_urlreload_pg", "zero", verbosity=0)
    sql("DROP ROLE IF EXISTS migrator")
    sql("CREATE ROLE migrator")
    sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO migrator")
    sql("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO migrator")
    try:
        with caplog.at_level(logging.WARNING, "cms_urlreload_pg"):
            sql("SET ROLE migrator")
            call_command("migrate", "cms_urlreload_pg", verbosity=0)
        assert "could not be put into the database 'default'" in caplog.text
        assert "as the role that owns the tables of django CMS" in caplog.text
        assert len(check()) == 1
    finally:
        sql("RESET ROLE")
        sql("DROP OWNED BY migrator")
        sql("DROP ROLE migrator")
    # Later, as the owner: the migration is done, and the triggers come all the same.
    call_command("migrate", "cms_urlreload_pg", verbosity=0)
    assert check() == []


@pytest.mark.parametrize("schema", ['odd "schema" r.o', "UPPER", "plain"])
def test_a_schema_may_have_any_name(schema: str) -> None:
    quoted = triggers._quote(schema)
    tree = tree_model()._meta.db_table
    tables = {"cms_page", "cms_pageurl", "cms_urlconfrevision", tree}
    try:
        with transaction.atomic():
            sql(f"CREATE SCHEMA {quoted}")
            for table in tables:
                sql(f"CREATE TABLE {quoted}.{table} (LIKE public.{table} INCLUDING DEFAULTS)")
            sql(f"SET LOCAL search_path = {quoted}")
            triggers.install(connection, "apphooks")
            assert triggers.missing(connection, "apphooks") == []
            sql("INSERT INTO cms_urlconfrevision VALUES (1, 'x')")
            sql("UPDATE cms_pageurl SET path = 'x'")
            sql(f"UPDATE {tree} SET path = 'x'")
            sql("SET LOCAL search_path = public")
            assert triggers.missing(connection, "apphooks") == []
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass


def test_a_listening_connection_is_woken(pages: Any, ear: Ear) -> None:
    pages["news"].urls.update(path="x")
    ready, _, _ = select.select([ear._connection.fileno()], [], [], 5)
    assert ready
