from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from cms.api import create_page_content
from cms.models import Page, PageContent, PageUrl
from cms.signals import urls_need_reloading
from django.apps import apps
from django.contrib.sites.models import Site
from django.core.serializers import deserialize, serialize
from django.db import IntegrityError, transaction

from cms_urlreload import commit_hook
from tests.support.versions import CMS, needs_urls_of_content, save_url_in, tree_model

from .conftest import Announced

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def announced(monkeypatch: Any) -> Announced:
    transport = Announced()
    monkeypatch.setattr(commit_hook, "get_transport", lambda: transport)
    monkeypatch.setattr(commit_hook, "state", transport.state)
    transport.state.settle(transport.state.marks)
    return transport


@pytest.fixture
def news(announced: Announced, make_page: Any) -> Any:
    page = make_page("news", "NewsApphook")
    announced.aliases.clear()
    announced.state.settle(announced.state.marks)
    return page


@pytest.fixture
def plain(announced: Announced, make_page: Any) -> Any:
    page = make_page("plain")
    assert announced.aliases == []
    return page


def save(instance: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(instance, name, value)
    instance.save()


def other_site() -> Any:
    return Site.objects.create(domain="other.test", name="other")


CHANGES: dict[str, Callable[[Any], Any]] = {
    "namespace": lambda page: save(page, application_namespace="other"),
    "apphook": lambda page: save(page, application_urls="EventsApphook"),
    "detach": lambda page: save(page, application_urls=""),
    "detach with None": lambda page: save(page, application_urls=None),
    "path": lambda page: save(page.urls.get(), path="other"),
    "path gone": lambda page: save(page.urls.get(), path=None),
    "language": lambda page: save(page.urls.get(), language="de"),
    "url created": lambda page: PageUrl.objects.create(
        page=page, language="de", slug="x", path="x"
    ),
    "url deleted": lambda page: page.urls.get().delete(),
    "queryset delete": lambda page: page.urls.all().delete(),
    "page deleted": lambda page: page.delete(),
    "reload asked for": lambda page: urls_need_reloading.send(sender=None),
}


if CMS >= (5, 1):  # before, a content has neither
    CHANGES["content's slug"] = lambda page: save(page.pagecontent_set.get(), slug="other")
    CHANGES["content's path"] = lambda page: save(
        page.pagecontent_set.get(), overwrite_url="other/path"
    )
if tree_model() is not Page:
    CHANGES["site of the node"] = lambda page: save(page.node, site=other_site())


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_announced_once(name: str, news: Any, announced: Announced) -> None:
    with transaction.atomic():
        CHANGES[name](news)
        assert announced.aliases == []
        assert not announced.state.dirty
    assert announced.aliases == ["default"]
    assert announced.state.dirty


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_announced__without_a_transaction(
    name: str, news: Any, announced: Announced
) -> None:
    CHANGES[name](news)
    assert announced.aliases
    assert announced.state.dirty


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_is_announced__when_it_is_rolled_back(
    name: str, news: Any, announced: Announced
) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        CHANGES[name](news)
        raise ZeroDivisionError
    assert announced.aliases == []
    assert not announced.state.dirty


def test_attaching_an_apphook_is_announced(plain: Any, announced: Announced) -> None:
    save(plain, application_urls="NewsApphook", application_namespace="x")
    assert announced.aliases == ["default"]


@needs_urls_of_content
def test_a_slug_above_an_apphook_is_announced(announced: Announced, make_page: Any) -> None:
    top = make_page("top")
    middle = make_page("middle", parent=top)
    make_page("news", "NewsApphook", parent=middle)
    make_page("beside")
    announced.aliases.clear()
    save(top.pagecontent_set.get(), slug="other")
    assert announced.aliases == ["default"]


NO_CHANGES: dict[str, Callable[[Any], Any]] = {
    "page as it is": lambda page: page.save(),
    "url as it is": lambda page: page.urls.get().save(),
    "other column": lambda page: save(page, reverse_id="x", login_required=True),
    "content": lambda page: save(page.pagecontent_set.get(), title="Other"),
}


@pytest.mark.parametrize("name", NO_CHANGES)
def test_nothing_is_announced__when_no_routing_column_changed(
    name: str, news: Any, announced: Announced
) -> None:
    NO_CHANGES[name](news)
    assert announced.aliases == []


PLAIN_CHANGES: dict[str, Callable[[Any], Any]] = {
    **NO_CHANGES,
    "path": lambda page: save(page.urls.get(), path="other"),
    "slug": lambda page: save(page.pagecontent_set.get(), slug="other"),
    "language": lambda page: create_page_content("de", "Seite", page),
    "url deleted": lambda page: page.urls.get().delete(),
    "page deleted": lambda page: page.delete(),
    "namespace": lambda page: save(page, application_namespace="left over"),
}


@pytest.mark.parametrize("name", PLAIN_CHANGES)
def test_nothing_is_announced__for_a_page_without_an_apphook(
    name: str, plain: Any, announced: Announced
) -> None:
    PLAIN_CHANGES[name](plain)
    assert announced.aliases == []
    assert not announced.state.dirty


def test_many_changes_in_a_transaction_are_announced_once(news: Any, announced: Announced) -> None:
    with transaction.atomic():
        for number in range(5):
            save(news, application_namespace=str(number))
            with transaction.atomic():
                save(news.urls.get(), path=str(number))
    assert announced.aliases == ["default"]


def test_each_transaction_is_announced(news: Any, announced: Announced) -> None:
    for number in range(3):
        with transaction.atomic():
            save(news, application_namespace=str(number))
    assert announced.aliases == ["default"] * 3


def test_a_change_before_a_savepoint_that_is_rolled_back_is_announced(
    news: Any, announced: Announced
) -> None:
    with transaction.atomic():
        save(news, application_namespace="kept")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            save(news, application_namespace="rolled back")
            raise ZeroDivisionError
    assert announced.aliases == ["default"]


def test_a_change_after_a_savepoint_that_was_rolled_back_is_announced(
    news: Any, announced: Announced
) -> None:
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            save(news, application_namespace="rolled back")
            raise ZeroDivisionError
        save(Page.objects.get(pk=news.pk), application_namespace="kept")
    assert announced.aliases == ["default"]


def test_only_a_savepoint_that_is_rolled_back_announces_nothing(
    news: Any, announced: Announced
) -> None:
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            save(news, application_namespace="rolled back")
            raise ZeroDivisionError
    assert announced.aliases == []


def test_a_change_after_a_transaction_that_was_rolled_back_is_announced(
    news: Any, announced: Announced
) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        save(news, application_namespace="rolled back")
        raise ZeroDivisionError
    with transaction.atomic():
        save(Page.objects.get(pk=news.pk), application_namespace="kept")
    assert announced.aliases == ["default"]


def test_a_save_that_fails_announces_nothing(news: Any, announced: Announced) -> None:
    url = news.urls.get()
    with pytest.raises(IntegrityError), transaction.atomic():
        PageUrl(pk=url.pk, page=news, language="de", slug="x", path="x").save(force_insert=True)
    assert announced.aliases == []


def test_an_announcement_that_fails_does_not_fail_the_request(
    news: Any, announced: Announced, monkeypatch: Any, caplog: Any
) -> None:
    def fail(alias: str) -> None:
        raise OSError("gone")

    monkeypatch.setattr(announced, "announce", fail)
    save(news, application_namespace="other")
    assert Page.objects.get(pk=news.pk).application_namespace == "other"
    assert announced.state.dirty
    [record] = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert "could not be announced" in record.getMessage()


@pytest.mark.django_db(transaction=True, databases=["default", "lite"])
def test_the_database_that_was_written_is_the_one_announced(announced: Announced) -> None:
    save_url_in("lite", "NewsApphook")
    assert set(announced.aliases) == {"lite"}


def test_a_transaction_by_hand_is_left_to_the_heartbeat(news: Any, announced: Announced) -> None:
    transaction.set_autocommit(False)
    try:
        save(news, application_namespace="other")
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert announced.aliases == []
    assert Page.objects.get(pk=news.pk).application_namespace == "other"


def test_a_fixture_may_bring_the_urls_before_their_page(news: Any, announced: Announced) -> None:
    models = ["cms.pageurl", "cms.page", "cms.pagecontent"]
    if tree_model() is not Page:
        models.append("cms.treenode")
    dumped = [json.loads(serialize("json", apps.get_model(m).objects.all())) for m in models]
    news.delete()
    announced.aliases.clear()
    with transaction.atomic():
        for each in deserialize("json", json.dumps([row for rows in dumped for row in rows])):
            each.save()
    assert announced.aliases == ["default"]


@needs_urls_of_content
def test_a_content_whose_page_is_not_there_yet_is_passed_over() -> None:
    content = PageContent(page_id=0, slug="x")
    commit_hook.on_pre_save(PageContent, content, "default")
    assert not commit_hook._routes(PageContent, content, "default")
