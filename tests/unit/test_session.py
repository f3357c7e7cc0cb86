"""What is said on a listening connection, step by step and by a clock that is given, to a real
server."""

from __future__ import annotations

import contextlib
import copy
import os
import select
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection

from cms_urlreload.conf import Settings
from cms_urlreload.state import State
from cms_urlreload_pg.hearing import HINTS_BURST
from cms_urlreload_pg.schemas import Schemas
from cms_urlreload_pg.session import NotDelivered, Script, Session, SessionLost, listen_statement
from cms_urlreload_pg.transport import PostgresTransport
from tests.support.waiting import wait_until

from .conftest import dsn

pytestmark = pytest.mark.django_db(transaction=True)


class Conversation:
    """A session, and the clock that it goes by."""

    def __init__(self, own: psycopg.Connection) -> None:
        self.own = own
        self.now = 100.0
        self.transport = PostgresTransport(State())
        self.script: Script = self.transport._script(own)
        self.session = Session(own, self.transport.state, self.script, Settings())

    def step(self) -> None:
        readable = bool(select.select([self.session.fileno], [], [], 0.02)[0])
        self.session.step(self.now, readable)

    def until(self, condition: Callable[[], object], what: str) -> None:
        def is_so() -> bool:
            self.step()
            return bool(condition())

        wait_until(is_so, 10, what)

    def ask_for_probe(self) -> None:
        self.until(lambda: self.session.wants_probe, "the answer to LISTEN")

    def prove(self) -> None:
        self.ask_for_probe()
        notify(self.script.probe_channel)
        self.session.probe_sent(self.now)
        self.until(lambda: self.session.is_proved, "the probe")

    def beat(self) -> None:
        self.until(lambda: self.session.heartbeats, "a heartbeat")

    def doubt(self) -> None:
        self.until(lambda: self.transport.state.dirty, "doubt")

    def begin(self) -> None:
        """To the first heartbeat, and with nothing in doubt."""
        self.prove()
        self.beat()
        self.transport.state.applied = self.transport.read_token("default")
        self.transport.state.settle(self.transport.state.marks)


def notify(channel: str, payload: str = "") -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [channel, payload])


@pytest.fixture
def talk() -> Iterator[Conversation]:
    with contextlib.closing(psycopg.connect(dsn(), autocommit=True, client_encoding="UTF8")) as own:
        yield Conversation(own)


def test_it_gives_up_a_server_that_does_not_answer(talk: Conversation) -> None:
    talk.session.step(now=100.0)
    assert talk.session.due == 105.0
    talk.session.step(now=104.9)
    with pytest.raises(SessionLost, match="no answer from the server within 5 seconds"):
        talk.session.step(now=105.0)


def test_it_vouches_for_nothing__before_it_is_proved_that_it_hears(talk: Conversation) -> None:
    talk.ask_for_probe()
    assert talk.transport.state.lease_until == 0
    talk.session.probe_sent(talk.now)
    for _ in range(10):
        talk.step()
    assert not talk.session.is_proved
    assert talk.transport.state.lease_until == 0


def test_it_vouches__from_the_first_heartbeat_on(talk: Conversation) -> None:
    talk.prove()
    assert talk.transport.state.lease_until == 0
    talk.beat()
    assert talk.transport.state.lease_until == 116.0


def test_it_is_lost__when_what_was_notified_does_not_arrive(talk: Conversation) -> None:
    talk.ask_for_probe()
    notify("cms-urlreload-probe-of-another")
    talk.session.probe_sent(talk.now)
    talk.now = 104.9
    talk.step()
    talk.now = 105.0
    with pytest.raises(NotDelivered, match="has not arrived"):
        talk.until(lambda: False, "the loss")
    # Behind a pooler, this connection is somebody else's from here on.
    talk.own.pgconn.nonblocking = 0
    assert talk.own.execute("SELECT * FROM pg_listening_channels()").fetchall() == []


def test_it_is_lost__when_the_server_is_silent_after_nothing_arrived(talk: Conversation) -> None:
    talk.ask_for_probe()
    talk.session.probe_sent(talk.now)
    talk.session.step(105.0)
    with pytest.raises(NotDelivered):
        talk.session.step(110.0)


class TestThreadsThatStandStill:
    """A C call that keeps the GIL, or a machine that was paused: what was in the socket when they
    go on proves nothing of the path since."""

    def stand_still(self, talk: Conversation, seconds: float) -> None:
        """Have the answer come, and read it so much later."""
        assert select.select([talk.session.fileno], [], [], 10)[0]
        talk.now += seconds
        talk.session.step(talk.now, readable=True)

    def test_answer__extends_the_lease__from_when_it_was_asked_for(
        self, talk: Conversation
    ) -> None:
        talk.begin()
        talk.now += 10
        talk.session.step(talk.now)  # sends a heartbeat
        asked_at, beats = talk.now, talk.session.heartbeats
        self.stand_still(talk, 4.9)
        talk.until(lambda: talk.session.heartbeats > beats, "the answer")
        assert talk.transport.state.lease_until == asked_at + 10 + 5 + 1
        assert talk.session.due <= asked_at + 10

    @pytest.mark.parametrize("seconds", [5, 30])
    def test_answer__is_a_loss__when_it_is_late(self, talk: Conversation, seconds: float) -> None:
        talk.begin()
        talk.now += 10
        talk.session.step(talk.now)
        lease = talk.transport.state.lease_until
        with pytest.raises(SessionLost, match="was read after 5 seconds"):
            self.stand_still(talk, seconds)
        assert talk.transport.state.lease_until == lease

    def test_first_answer__is_a_loss__when_it_is_late(self, talk: Conversation) -> None:
        talk.session.step(talk.now)
        with pytest.raises(SessionLost, match="was read after 5 seconds"):
            self.stand_still(talk, 30)

    def test_opening__is_a_loss__when_it_is_late(self, talk: Conversation) -> None:
        talk.prove()
        with pytest.raises(SessionLost, match="was read after 5 seconds"):
            self.stand_still(talk, 30)
        assert talk.transport.state.lease_until == 0

    def test_probe__is_a_loss__when_it_is_late(self, talk: Conversation) -> None:
        talk.ask_for_probe()
        notify(talk.script.probe_channel)
        talk.session.probe_sent(talk.now)
        with pytest.raises(SessionLost, match="was read after 5 seconds"):
            self.stand_still(talk, 30)
        assert not talk.session.is_proved

    def test_it_hears_what_was_announced_meanwhile(self, talk: Conversation) -> None:
        """While it waits for no answer."""
        talk.begin()
        talk.step()
        notify("apphooks")
        self.stand_still(talk, 30)
        assert talk.transport.state.dirty
        # And vouches for nothing before the answer to a heartbeat that is sent now.
        assert talk.transport.state.lease_until < talk.now


def test_it_is_lost__when_it_finds_the_pages_elsewhere(talk: Conversation) -> None:
    """A role, a DSN or a search_path of another schema."""
    talk.transport._schemas.found("default", "public")
    talk.begin()
    talk.transport._schemas = talk.script.schemas = Schemas()
    talk.transport._schemas.found("default", "tenant")
    talk.now += 10
    with pytest.raises(SessionLost) as caught:
        talk.until(lambda: False, "the loss")
    assert "in the schema 'public', and requests in 'tenant'" in str(caught.value)
    assert "LISTEN_DSN" in str(caught.value)
    assert "search_path" in str(caught.value)


def test_it_is_lost__when_it_finds_no_pages(talk: Conversation) -> None:
    talk.script.opening.insert(0, b"SET search_path = nowhere")
    with pytest.raises(SessionLost) as caught:
        talk.begin()
    assert 'relation "cms_' in str(caught.value)
    assert "search_path" in str(caught.value)
    assert "LINE" not in str(caught.value)


def test_it_says_nothing_that_would_stay_behind_a_pooler__before_it_is_proved(
    talk: Conversation, monkeypatch: Any
) -> None:
    """Settings and a role would stay on a connection that somebody else uses next."""
    asked: list[bytes] = []
    ask = Session._ask

    def note(self: Session, statement: bytes, now: float) -> None:
        asked.append(statement)
        ask(self, statement, now)

    monkeypatch.setattr(Session, "_ask", note)
    talk.ask_for_probe()
    assert asked == [listen_statement(talk.script.probe_channel)]


def test_it_listens_to_its_channel_alone__once_it_is_proved(talk: Conversation) -> None:
    talk.begin()
    talk.own.pgconn.nonblocking = 0
    assert talk.own.execute("SELECT * FROM pg_listening_channels()").fetchall() == [("apphooks",)]


def test_it_hears_only_its_own_channel(talk: Conversation) -> None:
    """Behind a pooler, what another client listened to may come as well."""
    talk.script.opening.insert(0, b"LISTEN other")
    talk.begin()
    state = talk.transport.state
    notify("other")
    talk.step()
    assert not state.dirty
    notify("apphooks")
    talk.doubt()
    assert talk.transport.counters()["notifications"] == 1


def test_it_does_not_hear_what_this_process_says(talk: Conversation) -> None:
    talk.begin()
    for _ in range(2):
        talk.transport.announce("default")
    notify("apphooks", "somebody else")
    talk.doubt()
    assert talk.transport.counters()["notifications"] == 1


def test_it_hears_what_it_has_said__a_second_time(talk: Conversation) -> None:
    """Whoever repeats it is somebody else."""
    said: list[str] = []

    def listen_in(execute: Any, sql: str, parameters: Any, *rest: Any) -> Any:
        said.append(parameters[1])
        return execute(sql, parameters, *rest)

    talk.begin()
    with connection.execute_wrapper(listen_in):
        talk.transport.announce("default")
    notify("apphooks", said[0])
    talk.doubt()
    assert talk.transport.counters()["notifications"] == 1


def clone_of(transport: PostgresTransport) -> PostgresTransport:
    """What a snapshot of the virtual machine makes: all that was random is the same."""
    clone = copy.copy(transport)
    for name, value in vars(transport).items():
        with contextlib.suppress(TypeError):  # a lock is no part of it
            setattr(clone, name, copy.deepcopy(value))
    return clone


def test_it_hears_a_clone_of_this_process(talk: Conversation) -> None:
    talk.begin()
    clone = clone_of(talk.transport)
    clone.announce("default")
    talk.doubt()
    assert talk.transport.counters()["notifications"] == 1


def test_it_hears_a_clone__that_speaks_at_the_same_time(talk: Conversation) -> None:
    talk.begin()
    clone = clone_of(talk.transport)
    talk.transport.announce("default")
    clone.announce("default")
    talk.transport.announce("default")
    talk.doubt()
    assert talk.transport.counters()["notifications"] == 1


def test_it_raises_what_the_server_says(talk: Conversation) -> None:
    talk.script.opening.insert(0, b"SELECT 1/0")
    with pytest.raises(SessionLost, match="division by zero"):
        talk.begin()


def test_a_heartbeat_that_brings_nothing__is_a_loss(talk: Conversation) -> None:
    talk.script.heartbeat = lambda in_doubt: b"SELECT 1, 2, 3 WHERE false"
    with pytest.raises(SessionLost, match="with nothing"):
        talk.begin()
    assert talk.transport.state.lease_until == 0


def test_a_flood__is_one_doubt_now_and_one_later(talk: Conversation) -> None:
    """However much arrives at once."""
    talk.begin()
    state = talk.transport.state
    for number in range(300):
        notify("apphooks", f"rubbish {number}" + "x" * 7000)
    marks = state.marks
    talk.until(lambda: talk.transport.counters()["notifications"] == 300, "all of it")
    assert 1 <= state.marks - marks <= HINTS_BURST + 1


def test_listen_statement__quotes() -> None:
    assert listen_statement('App"Hooks') == b'LISTEN "App""Hooks"'


def test_a_process_that_stays_in_doubt_shows_so__after_a_second(talk: Conversation) -> None:
    talk.begin()
    talk.step()
    talk.now += 1
    talk.until(lambda: not talk.session.shows_doubt, "the end of the first doubt")
    beats = talk.session.heartbeats
    notify("apphooks")
    talk.doubt()
    # Not before the answer to the heartbeat that is under way.
    talk.until(lambda: talk.session.due == talk.now + 1, "the next heartbeat to be planned")
    talk.now += 1
    talk.until(lambda: talk.session.heartbeats > beats, "a heartbeat")
    assert talk.session.shows_doubt
    # That may have been the answer to the one before it, of which the fleet knows nothing new.
    talk.until(lambda: talk.transport.fleet()[0].is_due, "the fleet to see it")
    [worker] = talk.transport.fleet()
    assert worker.pid == os.getpid()
