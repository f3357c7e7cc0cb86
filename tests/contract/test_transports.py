"""What every transport keeps, whatever it is made of. See cms_urlreload.transports.Transport."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from cms_urlreload.memory import Bus, InMemoryTransport
from cms_urlreload.state import State, Token
from cms_urlreload.transports import PollingTransport, Transport
from cms_urlreload_pg.transport import PostgresTransport
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "lite"])


class World:
    """Two processes, as far as transports can tell, of one kind."""

    def __init__(self, kind: str) -> None:
        bus = Bus()
        factories: dict[str, Any] = {
            "memory": lambda state: InMemoryTransport(state, bus),
            "poll": PollingTransport,
            "postgresql": PostgresTransport,
        }
        self.here: Transport = factories[kind](State())
        self.there: Transport = factories[kind](State())
        self.pushes = kind != "poll"

    def start(self) -> None:
        """Start both, and wait until they vouch, if they ever do."""
        for transport in (self.here, self.there):
            transport.ensure_started()
            if self.pushes:
                wait_until(lambda: has_lease(transport), 10, "a lease")  # noqa: B023
            settle(transport)

    def stop(self) -> None:
        self.here.stop()
        self.there.stop()


def has_lease(transport: Transport) -> bool:
    return transport.state.lease_until > time.monotonic()


def settle(transport: Transport) -> None:
    """What a refresh does: by polling, if nothing else vouches."""
    transport.state.settle(transport.state.marks)
    if not has_lease(transport):
        transport.state.extend_lease(time.monotonic() + 0.2)


def is_due(transport: Transport) -> bool:
    return transport.state.is_due(time.monotonic())


@pytest.fixture(params=["memory", "poll", "postgresql"])
def world(request: Any, settings: Any) -> Iterator[World]:
    settings.CMS_URLRELOAD = {"LISTEN": True}
    world = World(request.param)
    yield world
    world.stop()


def test_nothing_is_vouched_for__before_it_is_started(world: World) -> None:
    assert is_due(world.here)


def test_starting_puts_the_urls_in_doubt(world: World) -> None:
    settle(world.here)
    world.here.ensure_started()
    wait_until(lambda: is_due(world.here), 10, "doubt")


def test_an_announcement_is_heard_by_the_other(world: World) -> None:
    world.start()
    assert not is_due(world.there)
    world.here.announce("default")
    wait_until(lambda: is_due(world.there), 10, "doubt")


@pytest.mark.parametrize("world", ["memory", "postgresql"], indirect=True)
def test_an_announcement_does_not_come_back(world: World) -> None:
    """Its process has marked itself, before it announced. (Polling looks again in any case.)"""
    world.start()
    world.here.announce("default")
    wait_until(lambda: is_due(world.there), 10, "doubt")
    assert not is_due(world.here)


def test_each_announcement_is_heard(world: World) -> None:
    world.start()
    for _ in range(3):
        world.here.announce("default")
        wait_until(lambda: is_due(world.there), 10, "doubt")
        settle(world.there)


def test_nothing_is_vouched_for__after_it_was_stopped(world: World) -> None:
    world.start()
    world.there.stop()
    wait_until(lambda: is_due(world.there), 10, "doubt")


def test_nothing_is_vouched_for__in_a_forked_child(world: World) -> None:
    world.start()
    world.there.state.reset_after_fork()
    assert is_due(world.there)


def test_starting_and_stopping_twice_is_starting_and_stopping_once(world: World) -> None:
    world.start()
    world.start()
    world.here.announce("default")
    wait_until(lambda: is_due(world.there), 10, "doubt")
    world.stop()
    world.stop()


def test_it_announces__without_being_started(world: World) -> None:
    """As a command does."""
    world.there.ensure_started()
    if world.pushes:
        wait_until(lambda: has_lease(world.there), 10, "a lease")
    settle(world.there)
    world.here.announce("default")
    wait_until(lambda: is_due(world.there), 10, "doubt")


def test_it_announces__for_a_database_that_cannot_push(world: World) -> None:
    world.here.announce("lite")


def test_it_reads_the_token(world: World) -> None:
    token = world.here.read_token("default")
    assert isinstance(token, Token)
    assert token == world.there.read_token("default")


def test_a_refresh_may_be_told_at_any_time(world: World) -> None:
    world.here.refreshed(changed=True)
    world.start()
    world.here.refreshed(changed=True)
    world.stop()
    world.here.refreshed(changed=True)
