"""Makes requests as fast as they are answered, in a process of its own: small, with bare sockets,
because it shares the machine with what it measures.

``python -m tests.bench.load`` reads one order (JSON) a line, and writes one answer a line.
"""

from __future__ import annotations

import itertools
import json
import re
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
#: Seconds without any answer after which a run is given up.
PATIENCE = 60.0


@dataclass(frozen=True)
class Order:
    """Ask for the paths, one after the other, until the seconds are over."""

    port: int
    paths: Sequence[str]
    seconds: float
    #: At the same time.
    connections: int = 2
    #: Whether a connection is used again.
    keep: bool = False


@dataclass(frozen=True)
class Answer:
    """What came of it: seconds from the first request to the last response, the number of each
    status, and the seconds that each request took."""

    seconds: float
    statuses: dict[int, int]
    latencies: Sequence[float]

    @property
    def rate(self) -> float:
        """Requests in a second."""
        return len(self.latencies) / self.seconds


class Load:
    """The process, and its orders; a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)

    def run(self, order: Order) -> Answer:
        """Have an order carried out, and wait for it."""
        self.begin(order)
        return self.finish()

    def begin(self, order: Order) -> None:
        """Give an order, and do something else meanwhile."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()

    def finish(self) -> Answer:
        """Wait for what was begun.

        :raises RuntimeError: if the process has failed.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load generator ended")
        data = json.loads(line)
        statuses = {int(status): count for status, count in data["statuses"].items()}
        return Answer(data["seconds"], statuses, data["latencies"])


# --- in the process ------------------------------------------------------------------------------


class Client:
    """One connection at a time, with one request at a time."""

    def __init__(self, order: Order, requests: Iterator[bytes]) -> None:
        self._port = order.port
        self._keep = order.keep
        self._requests = requests
        self._selector: selectors.BaseSelector
        self._socket: socket.socket | None = None
        self._received = b""
        self._asked_at = 0.0

    def ask(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._received = b""
        self._asked_at = time.perf_counter()
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), PATIENCE)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(self._socket, selectors.EVENT_READ, self)
        self._socket.sendall(next(self._requests))

    def read(self) -> tuple[int, float] | None:
        """Take what is there; the status and the seconds, once the response is complete."""
        assert self._socket is not None
        part = self._socket.recv(65536)
        self._received += part
        if part and not (self._keep and self._is_complete()):
            return None
        if not part or not self._keep:
            self.close()
        status = int(self._received[9:12] or 0)
        return status, time.perf_counter() - self._asked_at

    def _is_complete(self) -> bool:
        head, separator, body = self._received.partition(b"\r\n\r\n")
        found = _LENGTH.search(head) if separator else None
        if found is None:
            # In chunks; none of the bodies that are asked for here ends like that by itself.
            return body.endswith(b"0\r\n\r\n")
        return len(body) >= int(found[1])

    def close(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None


def carry_out(order: Order) -> Answer:
    requests = itertools.cycle([_request(order, path) for path in order.paths])
    statuses: Counter[int] = Counter()
    latencies = []
    with selectors.DefaultSelector() as selector:
        clients = [Client(order, requests) for _ in range(order.connections)]
        started = time.perf_counter()
        for client in clients:
            client.ask(selector)
        waiting = len(clients)
        while waiting:
            ready = selector.select(PATIENCE)
            if not ready:
                raise TimeoutError(f"no answer for {PATIENCE:g} s")
            for key, _ in ready:
                answer = key.data.read()
                if answer is None:
                    continue
                statuses[answer[0]] += 1
                latencies.append(answer[1])
                if time.perf_counter() - started < order.seconds:
                    key.data.ask(selector)
                else:
                    key.data.close()
                    waiting -= 1
    return Answer(time.perf_counter() - started, dict(statuses), latencies)


def _request(order: Order, path: str) -> bytes:
    connection = "keep-alive" if order.keep else "close"
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{order.port}\r\nConnection: {connection}\r\n\r\n"
    ).encode()


def port_of(address: str) -> int:
    """Return the port of an address, as a site has it."""
    port = urlsplit(address).port
    assert port is not None
    return port


def main() -> None:
    for line in sys.stdin:
        answer = carry_out(Order(**json.loads(line)))
        sys.stdout.write(json.dumps(asdict(answer)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
