"""Fixtures for tests of one process."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from cms.api import create_page
from cms.signals.apphook import DISPATCH_UID, trigger_restart
from django.core.signals import request_finished
from django.db import connection, transaction
from django.utils import translation

from cms_urlreload.reloader import Reloader
from cms_urlreload.state import Reason, State
from cms_urlreload.transports import PollingTransport, Transport
from cms_urlreload.urltree import Publisher
from tests.support import versions

# django-health-check needs Django 5.2; there is none of it on the older stacks.
collect_ignore = [] if importlib.util.find_spec("health_check") else ["test_health.py"]


def dsn(**changes: Any) -> str:
    """The address of the test database, for a connection past Django's."""
    parameters = connection.get_connection_params()
    wanted = ("dbname", "user", "password", "host", "port")
    chosen = {name: parameters[name] for name in wanted if name in parameters}
    return psycopg.conninfo.make_conninfo(**{**chosen, **changes})


class Announced(Transport):
    """Keeps what it is told, and sees that it was committed then."""

    def __init__(self) -> None:
        super().__init__(State())
        self.aliases: list[str] = []

    def announce(self, alias: str, reason: Reason = "own") -> None:
        assert not transaction.get_connection(alias).in_atomic_block
        self.aliases.append(alias)


@pytest.fixture(scope="session", autouse=True)
def _cms_urls(request: pytest.FixtureRequest) -> None:
    """Import cms.urls where the database may be read, if the import builds the apphooks: it comes
    with whichever test is the first to need a URL."""
    if versions.URLS_READ_DATABASE_AT_IMPORT:
        request.getfixturevalue("django_db_setup")
        with request.getfixturevalue("django_db_blocker").unblock():
            importlib.import_module("cms.urls")


@pytest.fixture(autouse=True)
def _the_language_of_the_settings() -> Iterator[None]:
    """Django's test client leaves that of its last request."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def _no_reload_of_django_cms() -> Iterator[None]:
    """It parks its receiver until the process has answered a request: else that of another test."""
    yield
    request_finished.disconnect(trigger_restart, dispatch_uid=DISPATCH_UID)


@pytest.fixture
def clean_urls() -> Iterator[None]:
    """After the test, no apphook is in the URLs of this process."""
    yield
    Publisher().publish([])


@pytest.fixture
def make_page() -> Any:
    """Create a page, in English, with or without an apphook."""

    def make(slug: str, apphook: str | None = None, **kwargs: Any) -> Any:
        namespace = kwargs.pop("namespace", slug if apphook else None)
        return create_page(
            slug.title(),
            "demo/page.html",
            "en",
            slug=slug,
            apphook=apphook,
            apphook_namespace=namespace,
            **kwargs,
        )

    return make


class Process:
    """A state and its reloader, as a process has them."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.cpu = 0.0
        self.state = State()
        self.transport = PollingTransport(self.state)
        self.reloader = Reloader(
            self.state, lambda: self.transport, clock=lambda: self.now, cpu_clock=lambda: self.cpu
        )

    def refresh(self) -> None:
        """What the middleware does."""
        if self.state.is_due(self.now):
            self.reloader.refresh()


@pytest.fixture
def process(clean_urls: None, transactional_db: None) -> Process:
    """A process of its own that has not answered a request yet, with a clock that stands."""
    return Process()
