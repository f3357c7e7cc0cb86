"""A few HTTP clients that ask all the time, and keep when they asked and how long it took."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from tests.demo.client import request

if TYPE_CHECKING:
    from typing_extensions import Self

#: Seconds after which a client gives up.
TIMEOUT = 20.0


class Answer(NamedTuple):
    """``status`` is 0 where there was no answer."""

    began: float
    seconds: float
    status: int


class Clients:
    """Each client asks one address after the other, waits for the answer, and thinks a little.

    :param addresses: what is asked for, by name; every client asks for all of them in turn.
    """

    def __init__(
        self, addresses: Mapping[str, str], path: str, *, number: int = 4, think: float = 0.005
    ) -> None:
        self.number = number
        self.answers: dict[str, list[Answer]] = {name: [] for name in addresses}
        self._addresses = addresses
        self._path = path
        self._think = think
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, name="client") for _ in range(number)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Wait until each client has had its last answer."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * TIMEOUT)

    def _run(self) -> None:
        while not self._stop.wait(self._think):
            for name, address in self._addresses.items():
                began = time.monotonic()
                status = self._ask(address)
                self.answers[name].append(Answer(began, time.monotonic() - began, status))

    def _ask(self, address: str) -> int:
        try:
            return request(address, self._path, timeout=TIMEOUT).status
        except (OSError, http.client.HTTPException):
            return 0


def percentile(answers: list[Answer], share: float) -> float:
    """Return the seconds within which this share of the answers was there."""
    times = sorted(answer.seconds for answer in answers)
    return times[min(len(times) - 1, int(share * len(times)))]


def arrivals(address: str, path: str, *, rate: float, seconds: float) -> list[Answer]:
    """Ask so many times a second, however many of those before are still waiting."""
    return asyncio.run(_arrive(address, path, rate, seconds))


async def _arrive(address: str, path: str, rate: float, seconds: float) -> list[Answer]:
    asked = []
    for _ in range(int(rate * seconds)):
        asked.append(asyncio.create_task(_ask_once(address, path)))
        await asyncio.sleep(1 / rate)
    return list(await asyncio.gather(*asked))


async def _ask_once(address: str, path: str) -> Answer:
    began = time.monotonic()
    try:
        status = await asyncio.wait_for(_status(address, path), TIMEOUT)
    except (OSError, IndexError, asyncio.TimeoutError):
        status = 0
    return Answer(began, time.monotonic() - began, status)


async def _status(address: str, path: str) -> int:
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        return int((await reader.read()).split()[1])
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
