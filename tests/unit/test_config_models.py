"""Rows that apphooks read (CONFIG_MODELS): the token is made of them, and a write is announced."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save

from cms_urlreload import commit_hook
from cms_urlreload.checks import check_config_databases
from cms_urlreload.state import State
from cms_urlreload.token import config_tables
from cms_urlreload.transports import PollingTransport, Transport
from cms_urlreload_pg.transport import PostgresTransport
from tests.demo.news.models import Story

from .conftest import Announced, dsn

pytestmark = pytest.mark.django_db(transaction=True)

DAY = datetime.date(2024, 5, 1)


@pytest.fixture(autouse=True)
def _config_models(settings: Any) -> None:
    settings.CMS_URLRELOAD = {"CONFIG_MODELS": ["news.Story", "auth.User"]}


@pytest.fixture
def story() -> Story:
    return Story.objects.create(title="Title", slug="slug", text="Text", published=DAY)


@pytest.fixture(params=[PollingTransport, PostgresTransport])
def transport(request: Any) -> Transport:
    return request.param(State())  # type: ignore[no-any-return]


CHANGES: dict[str, Callable[[Story], Any]] = {
    "create": lambda story: Story.objects.create(title="T", slug="s", published=DAY),
    "update": lambda story: Story.objects.update(title="Another"),
    "date": lambda story: Story.objects.update(published=DAY + datetime.timedelta(1)),
    "delete": lambda story: story.delete(),
    "raw delete": lambda story: Story.objects.all()._raw_delete("default"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_token_changes_with_the_rows(name: str, story: Story, transport: Transport) -> None:
    before = transport.read_token("default")
    assert transport.read_token("default") == before
    CHANGES[name](story)
    assert transport.read_token("default") != before


def test_the_token_changes_with_many_to_many_relations(
    transport: Transport, django_user_model: Any
) -> None:
    user = django_user_model.objects.create(username="x")
    group = Group.objects.create(name="group")
    before = transport.read_token("default")
    user.groups.add(group)
    after = transport.read_token("default")
    user.groups.clear()
    assert after != before
    assert transport.read_token("default") == before


def test_the_token_goes_by_the_rows_alone__when_nothing_is_named(
    story: Story, transport: Transport, settings: Any
) -> None:
    settings.CMS_URLRELOAD = {}
    before = transport.read_token("default")
    story.delete()
    assert transport.read_token("default") == before


def test_the_token_is_one_query_on_postgresql(story: Story, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        PostgresTransport(State()).read_token("default")


def test_the_token_of_the_listener_is_that_of_the_request(
    story: Story, django_user_model: Any
) -> None:
    """Whatever the time zone and the style of dates in its session."""
    django_user_model.objects.create(
        username="x", last_login=datetime.datetime.now(datetime.timezone.utc)
    )
    transport = PostgresTransport(State())
    with psycopg.connect(dsn(), autocommit=True, client_encoding="UTF8") as own:
        own.execute("SET TimeZone = 'Asia/Kathmandu'")
        own.execute("SET DateStyle = 'German'")
        row = own.execute(transport._script(own).heartbeat(False)).fetchone()
    assert row is not None
    assert row[1:] == transport.read_token("default")


def test_a_name_that_is_no_model_is_passed_over(settings: Any, transport: Transport) -> None:
    settings.CMS_URLRELOAD = {"CONFIG_MODELS": ["news.Novel", "nothing.AtAll"]}
    assert config_tables() == []
    commit_hook.connect()
    transport.read_token("default")


class ToLite:
    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "lite" if model is Story else None

    db_for_write = db_for_read


def test_a_model_in_another_database_is_passed_over(settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["tests.unit.test_config_models.ToLite"]
    assert Story not in config_tables()


class AnyReplica:
    """As in Django's documentation."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return random.choice(["default", "lite"])

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


def test_tables_are_the_same__when_a_router_picks_any_replica(settings: Any) -> None:
    expected = config_tables()
    assert Story in expected
    settings.DATABASE_ROUTERS = ["tests.unit.test_config_models.AnyReplica"]
    for _ in range(50):
        assert config_tables() == expected
        assert check_config_databases(None) == []


@pytest.fixture
def announced(monkeypatch: Any, django_user_model: Any) -> Iterator[Announced]:
    transport = Announced()
    monkeypatch.setattr(commit_hook, "get_transport", lambda: transport)
    monkeypatch.setattr(commit_hook, "state", transport.state)
    commit_hook.connect()
    yield transport
    for sender in (Story, django_user_model):
        for signal in (post_save, post_delete):
            assert signal.disconnect(sender=sender, dispatch_uid=commit_hook._UID)
    for field in django_user_model._meta.many_to_many:
        sender = field.remote_field.through
        assert m2m_changed.disconnect(sender=sender, dispatch_uid=commit_hook._UID)


WRITES: dict[str, Callable[[Story], Any]] = {
    "create": CHANGES["create"],
    "save": lambda story: story.save(),
    "delete": CHANGES["delete"],
    "queryset delete": lambda story: Story.objects.all().delete(),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_is_announced_once__after_the_commit(
    name: str, story: Story, announced: Announced
) -> None:
    announced.aliases.clear()
    with transaction.atomic():
        WRITES[name](story)
        Story.objects.create(title="T", slug="another", published=DAY)
        assert announced.aliases == []
    assert announced.aliases == ["default"]
    assert announced.state.dirty


@pytest.mark.parametrize("name", WRITES)
def test_nothing_is_announced__when_it_is_rolled_back(
    name: str, story: Story, announced: Announced
) -> None:
    announced.aliases.clear()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        WRITES[name](story)
        raise ZeroDivisionError
    assert announced.aliases == []


def test_a_many_to_many_relation_is_announced(announced: Announced, django_user_model: Any) -> None:
    user = django_user_model.objects.create(username="x")
    group = Group.objects.create(name="group")
    announced.aliases.clear()
    user.groups.set([group])
    assert announced.aliases
