"""A TCP proxy on the loopback that can lose what passes through it, for connections that die
without a word, as they do behind a firewall that forgets them; and that can hold one message.
Knows no protocol.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Gate:
    """Holds what clients send for the ``position``-th time from now on, counted from 1, until it is
    released. A client that waits for each answer sends one statement, or one batch, at a time."""

    def __init__(self, proxy: Proxy, position: int) -> None:
        self._proxy = proxy
        self._left = position
        self._holding = threading.Event()
        #: The client, and what it has sent.
        self.held: tuple[socket.socket, bytes] | None = None

    @property
    def is_holding(self) -> bool:
        """Whether the position was reached."""
        return self._holding.is_set()

    def stops(self, client: socket.socket, data: bytes) -> bool:
        """Whether this is what is to be held; it is kept then."""
        self._left -= 1
        if self._left:
            return False
        self.held = (client, data)
        self._holding.set()
        return True

    def release(self) -> None:
        """Forward what is held."""
        self._proxy.forward_held(self)


class Proxy:
    """Forwards connections to an address, and does to them what a test asks for."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._clients: set[socket.socket] = set()
        self._silent: set[socket.socket] = set()
        self._gate: Gate | None = None
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._stopped = False
        #: Read and acknowledge what comes, and forward none of it.
        self.drops = False
        #: Close each new connection at once.
        self.refuses = False
        #: How many of the next connections are to be as those of silence().
        self.silences_next = 0
        #: How often something was forwarded to a client.
        self.answers = 0
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    def __enter__(self) -> Self:
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped = True
        self._thread.join(5)
        self.cut()
        self._listening.close()
        self._selector.close()

    def cut(self) -> None:
        """End all connections."""
        with self._lock:
            for end in list(self._pairs):
                self._close(end)

    @property
    def connections(self) -> int:
        """How many are open."""
        with self._lock:
            return len(self._clients)

    def silence(self, number: int = 1) -> None:
        """From now on, read and acknowledge what comes on some open connections, and forward none
        of it. All others go on."""
        with self._lock:
            for client in list(self._clients)[:number]:
                self._silent |= {client, self._pairs[client]}

    @contextlib.contextmanager
    def hold(self, position: int) -> Iterator[Gate]:
        """Hold what clients send for the ``position``-th time, until release() or the end."""
        gate = Gate(self, position)
        self._gate = gate
        try:
            yield gate
        finally:
            self._gate = None
            gate.release()

    def forward_held(self, gate: Gate) -> None:
        """Forward what a gate holds; nothing the second time."""
        with self._lock:
            held, gate.held = gate.held, None
            if held is not None and held[0] in self._pairs:
                self._selector.register(held[0], selectors.EVENT_READ)
                self._send(*held)

    def _run(self) -> None:
        while not self._stopped:
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    if key.fileobj is self._listening:
                        self._accept()
                    elif key.fileobj in self._pairs:
                        self._forward(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listening.accept()
        if self.refuses:
            client.close()
            return
        try:
            server = socket.create_connection(self._target, 5)
        except OSError:
            client.close()
            return
        self._pairs[client] = server
        self._pairs[server] = client
        self._clients.add(client)
        if self.silences_next:
            self.silences_next -= 1
            self._silent |= {client, server}
        for end in (client, server):
            self._selector.register(end, selectors.EVENT_READ)

    def _forward(self, end: socket.socket) -> None:
        try:
            data = end.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._close(end)
        elif not self.drops and end not in self._silent:
            gate = self._gate
            if gate and end in self._clients and gate.stops(end, data):
                self._selector.unregister(end)
            else:
                self._send(end, data)

    def _send(self, end: socket.socket, data: bytes) -> None:
        try:
            self._pairs[end].sendall(data)
        except OSError:
            self._close(end)
            return
        if end not in self._clients:
            self.answers += 1

    def _close(self, end: socket.socket) -> None:
        for each in (end, self._pairs.pop(end, None)):
            if each is not None:
                self._pairs.pop(each, None)
                self._clients.discard(each)
                self._silent.discard(each)
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(each)
                each.close()
