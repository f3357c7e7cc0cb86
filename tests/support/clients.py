"""A few HTTP clients that ask all the time, and keep when they asked and how long it took."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

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
