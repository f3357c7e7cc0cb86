"""The token has the same meaning however it is read: for any database, and for PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cms.models import Page, PageUrl
from cms.utils.apphook_reload import mark_urlconf_as_changed
from django.contrib.sites.models import Site
from django.db import connections

from cms_urlreload.state import State, Token
from cms_urlreload.transports import PollingTransport, Transport
from cms_urlreload_pg.transport import PostgresTransport
from tests.support.versions import needs_sites_by_host, save_url_in, since_cms, tree_row

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[PollingTransport, PostgresTransport])
def transport(request: Any) -> Transport:
    return request.param(State())  # type: ignore[no-any-return]


@pytest.fixture
def pages(make_page: Any) -> dict[str, Any]:
    parent = make_page("parent")
    return {
        "plain": make_page("plain"),
        "parent": parent,
        "news": make_page("news", "NewsApphook", parent=parent),
        "events": make_page("events", "EventsApphook"),
    }


def test_read_token__is_one_query(
    transport: Transport, pages: Any, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        transport.read_token("default")


def test_read_token__is_the_same__when_nothing_changed(transport: Transport, pages: Any) -> None:
    assert transport.read_token("default") == transport.read_token("default")


def test_read_token__without_rows(transport: Transport) -> None:
    token = transport.read_token("default")
    assert token.revision == ""
    assert len(token.digest) == 64


def test_read_token__has_the_revision(transport: Transport, pages: Any) -> None:
    before = transport.read_token("default")
    revision = mark_urlconf_as_changed()
    assert transport.read_token("default") == Token(revision, before.digest)


def _other_site() -> Any:
    return Site.objects.create(domain="other.test", name="other")


def _save(row: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    row.save(update_fields=values)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "path": lambda p: PageUrl.objects.filter(page=p["news"]).update(path="x"),
    "path gone": lambda p: PageUrl.objects.filter(page=p["news"]).update(path=None),
    "language": lambda p: PageUrl.objects.filter(page=p["news"]).update(language="de"),
    "apphook": lambda p: Page.objects.filter(pk=p["news"].pk).update(application_urls="X"),
    "apphook cleared": lambda p: Page.objects.filter(pk=p["news"].pk).update(application_urls=""),
    "apphook removed": lambda p: Page.objects.filter(pk=p["news"].pk).update(application_urls=None),
    "apphook attached": lambda p: Page.objects.filter(pk=p["plain"].pk).update(
        application_urls="X"
    ),
    "namespace": lambda p: Page.objects.filter(pk=p["news"].pk).update(application_namespace="x"),
    "namespace removed": lambda p: Page.objects.filter(pk=p["news"].pk).update(
        application_namespace=None
    ),
    "namespace emptied": lambda p: Page.objects.filter(pk=p["news"].pk).update(
        application_namespace=""
    ),
    "order": lambda p: tree_row(p["events"]).move(tree_row(p["parent"]), "left"),
    "page deleted": lambda p: p["news"].delete(),
    "site": lambda p: _save(tree_row(p["news"]), site=_other_site()),
    "swap": lambda p: (
        PageUrl.objects.filter(page=p["news"]).update(path="tmp"),
        PageUrl.objects.filter(page=p["events"]).update(path="parent/news"),
        PageUrl.objects.filter(page=p["news"]).update(path="events"),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_read_token__changes__with_what_decides_routing(
    name: str, transport: Transport, pages: Any
) -> None:
    before = transport.read_token("default")
    CHANGES[name](pages)
    assert transport.read_token("default") != before


@since_cms((5, 1), "a URL has no site of its own")
def test_read_token__changes__with_the_site_of_a_url(transport: Transport, pages: Any) -> None:
    before = transport.read_token("default")
    PageUrl.objects.filter(page=pages["news"]).update(site=_other_site())
    assert transport.read_token("default") != before


def test_read_token__tells_null_from_empty(transport: Transport, pages: Any) -> None:
    page = Page.objects.filter(pk=pages["news"].pk)
    page.update(application_namespace=None)
    without = transport.read_token("default")
    page.update(application_namespace="")
    assert transport.read_token("default") != without


NOT_ROUTING: dict[str, Callable[[Any], Any]] = {
    "plain path": lambda p: PageUrl.objects.filter(page=p["plain"]).update(path="x"),
    "plain page deleted": lambda p: p["plain"].delete(),
    "plain page moved past": lambda p: tree_row(p["plain"]).move(tree_row(p["events"]), "right"),
    "navigation": lambda p: Page.objects.filter(pk=p["news"].pk).update(reverse_id="x"),
    "login": lambda p: Page.objects.filter(pk=p["news"].pk).update(login_required=True),
}


@pytest.mark.parametrize("name", NOT_ROUTING)
def test_read_token__stays__with_what_does_not(name: str, transport: Transport, pages: Any) -> None:
    before = transport.read_token("default")
    NOT_ROUTING[name](pages)
    assert transport.read_token("default") == before


def test_read_token__ignores_other_sites(transport: Transport, pages: Any, make_page: Any) -> None:
    mine = transport.read_token("default")
    make_page("there", "EventsApphook", site=_other_site())
    assert transport.read_token("default") == mine


@needs_sites_by_host
def test_read_token__of_all_sites(
    transport: Transport, pages: Any, make_page: Any, settings: Any
) -> None:
    page = make_page("there", "EventsApphook", site=_other_site())
    mine = transport.read_token("default")
    del settings.SITE_ID
    for_all = transport.read_token("default")
    assert for_all != mine
    PageUrl.objects.filter(page=page).update(path="elsewhere")
    assert transport.read_token("default") != for_all


@pytest.mark.django_db(databases=["default", "lite"])
@pytest.mark.parametrize("transport_class", [PollingTransport, PostgresTransport])
def test_read_token__reads_a_database_of_another_kind(transport_class: Any) -> None:
    transport = transport_class(State())
    assert connections["lite"].vendor == "sqlite"
    empty = transport.read_token("lite")
    url = save_url_in("lite", "NewsApphook")
    one = transport.read_token("lite")
    url.path = "y"
    url.save(using="lite")
    assert len({empty, one, transport.read_token("lite")}) == 3
