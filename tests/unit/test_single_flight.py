"""One piece of work at a time, in threads and event loops."""

from __future__ import annotations

import asyncio
import threading

from cms_urlreload.single_flight import Flight, SingleFlight


def in_a_thread(call: object) -> None:
    thread = threading.Thread(target=call)  # type: ignore[arg-type]
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_begin__gives_what_is_under_way() -> None:
    flights, first, second = SingleFlight(), Flight(0), Flight(0)
    assert flights.begin(first) is first
    assert first.is_mine
    assert flights.begin(second) is first
    assert not second.is_mine
    flights.end(second)
    assert flights.begin(second) is first
    flights.end(first)
    assert first.has_ended
    assert flights.begin(second) is second


def test_end__is_for_the_thread_that_does_it() -> None:
    flights, first = SingleFlight(), Flight(0)
    in_a_thread(lambda: flights.begin(first))
    flights.end(first)
    assert not first.has_ended
    assert flights.begin(Flight(0)) is first


def test_end__twice__does_no_harm() -> None:
    flights, first, second = SingleFlight(), Flight(0), Flight(0)
    flights.begin(first)
    flights.end(first)
    flights.begin(second)
    flights.end(first)
    assert not second.has_ended


def test_reserve__is_begun_by_another_thread() -> None:
    flights, flight = SingleFlight(), Flight(0)
    assert flights.reserve(flight) is flight
    assert flights.reserve(Flight(0)) is flight

    def do() -> None:
        flights.begin(flight)
        flights.end(flight)

    in_a_thread(do)
    assert flight.has_ended


def test_begin__takes_over__what_nobody_has_begun() -> None:
    """The thread that is to do it may be waiting for this one."""
    flights, reserved, taken = SingleFlight(), Flight(0), Flight(0)
    flights.reserve(reserved)
    assert flights.begin(taken) is taken
    in_a_thread(lambda: flights.begin(reserved))  # comes too late
    assert not reserved.is_mine
    assert not reserved.has_ended
    flights.end(taken)
    assert reserved.has_ended
    assert taken.has_ended


def test_end__frees__what_was_reserved_and_never_begun() -> None:
    flights, reserved = SingleFlight(), Flight(0)
    flights.reserve(reserved)
    flights.end(reserved)
    assert reserved.has_ended
    assert flights.reserve(Flight(0)) is not reserved


def test_wait__ends_with_the_flight() -> None:
    flights, flight = SingleFlight(), Flight(0)
    waited: list[bool] = []
    flights.begin(flight)
    assert not flight.wait(0.01)
    assert not flight.wait(-1.0)
    waiter = threading.Thread(target=lambda: waited.append(flight.wait(10)))
    waiter.start()
    flights.end(flight)
    waiter.join(10)
    assert waited == [True]


def test_await_end__takes_no_thread() -> None:
    flights, flight = SingleFlight(), Flight(0)
    in_a_thread(lambda: flights.begin(flight))

    async def wait() -> tuple[list[bool], int]:
        before = threading.active_count()
        waiters = [asyncio.create_task(flight.await_end(10)) for _ in range(500)]
        await asyncio.sleep(0)
        threads = threading.active_count() - before
        waiters.pop().cancel()  # a client that went away
        flight._ended.set_result(None)
        return await asyncio.gather(*waiters), threads

    assert asyncio.run(wait()) == ([True] * 499, 0)


def test_await_end__gives_up__in_time() -> None:
    flights, flight = SingleFlight(), Flight(0)
    flights.begin(flight)
    assert not asyncio.run(flight.await_end(0.01))
    flights.end(flight)  # the loop of who waited is closed
    assert flight.has_ended


def test_begin__of_one_that_was_given_up__can_be_waited_for() -> None:
    """A coroutine was cancelled, and its thread begins all the same."""
    flights, flight = SingleFlight(), Flight(0)
    flights.reserve(flight)
    flights.end(flight)
    assert flights.begin(flight) is flight
    assert not flight.wait(0.01)
    flights.end(flight)
    assert flight.has_ended
