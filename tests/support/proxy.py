"""A TCP proxy on the loopback that can lose what passes through it: for connections that die
without a word, as they do behind a firewall that forgets them.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Proxy:
    """Forwards connections to an address, and does to them what a test asks for."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._stopped = False
        self._forgotten: set[socket.socket] = set()
        #: Read and acknowledge what comes, and forward none of it.
        self.drops = False
        #: Close each new connection at once.
        self.refuses = False
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

    def forget(self) -> None:
        """Read and acknowledge what comes on the connections that are open, and forward none of it;
        new ones work."""
        with self._lock:
            self._forgotten.update(self._pairs)

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
        for end in (client, server):
            self._selector.register(end, selectors.EVENT_READ)

    def _forward(self, end: socket.socket) -> None:
        try:
            data = end.recv(65536)
            if data and not self.drops and end not in self._forgotten:
                self._pairs[end].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._close(end)

    def _close(self, end: socket.socket) -> None:
        for each in (end, self._pairs.pop(end, None)):
            if each is not None:
                self._pairs.pop(each, None)
                self._forgotten.discard(each)
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(each)
                each.close()
