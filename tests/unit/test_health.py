from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from health_check.views import HealthCheckView

from cms_urlreload import process as process_module
from cms_urlreload.health import ApphookUrls
from cms_urlreload.state import State
from cms_urlreload.transports import PollingTransport
from cms_urlreload_pg.transport import PostgresTransport
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

from .conftest import dsn

pytestmark = pytest.mark.django_db(transaction=True)


class Worker:
    """This process, as one that may listen."""

    def __init__(self, monkeypatch: Any) -> None:
        self.state = State()
        self.transport = PostgresTransport(self.state)
        monkeypatch.setattr(process_module, "_transport", self.transport)

    def request(self) -> None:
        """What the middleware does, without the building."""
        self.transport.ensure_started()
        self.state.settle(self.state.marks)
        if time.monotonic() >= self.state.lease_until:
            self.transport.lapsed()
            self.state.put_off(time.monotonic() + 1.0)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    parameters = connection.get_connection_params()
    with Proxy(parameters["host"], int(parameters["port"])) as proxy:
        yield proxy


@pytest.fixture
def worker(monkeypatch: Any, settings: Any, proxy: Proxy) -> Iterator[Worker]:
    settings.CMS_URLRELOAD = {
        "LISTEN": True,
        "LISTEN_DSN": dsn(host="127.0.0.1", port=proxy.port),
    }
    worker = Worker(monkeypatch)
    yield worker
    worker.transport.stop()


def trouble(grace: float = 0.05) -> str:
    """What the check finds; "" if all is well."""
    result = asyncio.run(ApphookUrls(timedelta(seconds=grace)).get_result())
    assert result.error is None or "unknown" not in str(result.error)
    return str(result.error or "")


def test_it_asks_nobody_and_starts_nothing(worker: Worker) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert not trouble()
    assert len(queries) == 0
    assert worker.transport._listener is None


def test_a_worker_that_has_not_answered_a_request__is_healthy(worker: Worker) -> None:
    assert not trouble(grace=0)
    assert repr(ApphookUrls()) == "ApphookUrls(poll: the listener has not connected yet.)"


def test_a_worker_whose_first_request_is_the_probe__has_the_grace(
    worker: Worker, proxy: Proxy
) -> None:
    proxy.refuses = True
    worker.request()
    assert not trouble(grace=60)
    text = wait_until(trouble, 5, "the grace to be over")
    assert "Not told of changes for" in text
    wait_until(lambda: "the listener has no connection" in trouble(), 5, "the reason")
    assert "Until it has one again, the database is asked every 1 seconds" in trouble()


def test_a_worker_that_listens__is_healthy(worker: Worker) -> None:
    worker.request()
    wait_until(lambda: worker.transport.is_healthy, 10, "a listener")
    assert not trouble(grace=0)
    assert repr(ApphookUrls()) == "ApphookUrls(push)"


def test_a_worker_that_lost_its_listener__is_unhealthy__though_it_polls(
    worker: Worker, proxy: Proxy
) -> None:
    worker.request()
    wait_until(lambda: worker.transport.is_healthy, 10, "a listener")
    proxy.refuses = True
    proxy.cut()
    wait_until(trouble, 5, "the loss to be seen")
    worker.request()
    assert worker.state.lease_until > time.monotonic()
    assert "the listener has no connection" in trouble()
    assert not trouble(grace=60)
    assert repr(ApphookUrls()) == "ApphookUrls(push)"

    proxy.refuses = False
    wait_until(lambda: not trouble(), 10, "it to listen again")


def test_an_idle_worker_whose_listener_died_silently__is_unhealthy(worker: Worker) -> None:
    """Its thread is gone, as after a fork in C; and nobody has found out by a request."""
    worker.request()
    wait_until(lambda: worker.transport.is_healthy, 10, "a listener")
    worker.transport.stop()
    assert worker.transport.mode.current.name == "push"
    text = wait_until(trouble, 5, "the lease to be over")
    assert text.endswith(
        "the listener's thread has ended, or hangs. The next request starts another."
    )


@pytest.mark.parametrize("reason", ["listening is off", "nothing pushes here"])
def test_a_worker_that_polls_on_purpose__is_healthy_and_says_so(
    worker: Worker, settings: Any, monkeypatch: Any, reason: str
) -> None:
    if reason == "listening is off":
        settings.CMS_URLRELOAD = {"LISTEN": False}
        said = "CMS_URLRELOAD['LISTEN'] is False."
    else:
        said = "there is nothing here that pushes from sqlite."
        monkeypatch.setattr(process_module, "_transport", PollingTransport(State(), said))
    process_module.get_transport().ensure_started()
    assert not trouble(grace=0)
    assert repr(ApphookUrls()) == f"ApphookUrls(poll: {said})"


def test_its_labels_are_those_of_its_parameters() -> None:
    assert ApphookUrls().labels == {"check": "ApphookUrls", "grace": "0:01:00"}


def test_the_view_of_django_health_check_takes_it(worker: Worker, proxy: Proxy) -> None:
    """By its path and with options, as its settings have it."""
    proxy.refuses = True
    worker.request()
    view = HealthCheckView.as_view(
        checks=[("cms_urlreload.health.ApphookUrls", {"grace": timedelta(0)})]
    )
    request = RequestFactory().get("/", {"format": "json"})
    response = asyncio.run(view(request))
    assert response.status_code == 500
    assert b"Unavailable: Not told of changes for 0 seconds" in response.content
