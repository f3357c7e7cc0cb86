"""Sends each transaction of a client to the next one of several PostgreSQL servers, as poolers over
replicas do; all of one explicit transaction to the same. Only what reads is balanced, the rest
goes to the first server. Knows as much of the protocol as that takes: no TLS, COPY or cancelling.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import struct
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from typing_extensions import Self

# https://www.postgresql.org/docs/current/protocol-message-formats.html
_CANCEL, _TLS, _GSS = 80877102, 80877103, 80877104
_PARAMETERS = (
    *("server_version", "server_encoding", "client_encoding", "DateStyle", "TimeZone"),
    *("IntervalStyle", "integer_datetimes", "standard_conforming_strings"),
)
_READS = re.compile(rb"\s*(/\*.*?\*/\s*)*(SELECT|WITH|BEGIN|START)\b", re.I | re.S)
_WRITES = re.compile(rb"pg_notify", re.I)
_SETS = re.compile(rb"\s*(SET|RESET)\b|SELECT\s+(pg_catalog\.)?set_config", re.I)


class Balancer:
    """Listens on a port of the loopback.

    :param dsns: of the same database on each server; the one that can be written to first.
    """

    def __init__(self, dsns: Sequence[str]) -> None:
        self._dsns = dsns
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._clients: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        #: How many transactions each server was sent.
        self.sent = [0] * len(dsns)

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each in (self._listening, *list(self._clients)):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listening.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="balancer", daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._clients.add(client)
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._clients.discard, client)
            stack.enter_context(client)
            stack.enter_context(contextlib.suppress(OSError, EOFError, psycopg.Error))
            if not _begin(client):
                return
            # libpq logs in; from then on its socket is used past it.
            sessions = [stack.enter_context(psycopg.connect(dsn)) for dsn in self._dsns]
            servers = [
                stack.enter_context(socket.socket(fileno=os.dup(session.fileno())))
                for session in sessions
            ]
            for server in servers:
                server.setblocking(True)
            client.sendall(_greeting(sessions[0]))
            self._talk(client, servers)

    def _talk(self, client: socket.socket, servers: list[socket.socket]) -> None:
        turns = itertools.cycle(range(len(servers)))
        number, status = 0, b"I"
        while turn := _read_turn(client):
            text = turn[5:]
            if status == b"I":
                if _SETS.match(text):  # of the session, which is all of these
                    for server in servers[1:]:
                        server.sendall(turn)
                        _relay(server, None)
                    number = 0
                elif _READS.match(text.split(b"\0", 1)[-1] if turn[:1] == b"P" else text):
                    number = 0 if _WRITES.search(text) else next(turns)
                else:
                    number = 0
                self.sent[number] += 1
            servers[number].sendall(turn)
            status = _relay(servers[number], client)


def _begin(client: socket.socket) -> bool:
    """Read what a client begins with; whether it wants a session."""
    while True:
        length, code = struct.unpack("!ii", _read(client, 8))
        _read(client, length - 8)
        if code == _CANCEL:
            return False
        if code not in (_TLS, _GSS):
            return True
        client.sendall(b"N")


def _greeting(session: psycopg.Connection) -> bytes:
    """Let a client in, without a password."""
    parts = [b"R" + struct.pack("!ii", 8, 0)]
    for name in _PARAMETERS:
        value = session.info.parameter_status(name) or ""
        body = f"{name}\0{value}\0".encode()
        parts.append(b"S" + struct.pack("!i", len(body) + 4) + body)
    parts.append(b"K" + struct.pack("!iii", 12, 0, 0))
    parts.append(b"Z" + struct.pack("!i", 5) + b"I")
    return b"".join(parts)


def _read_turn(client: socket.socket) -> bytes:
    """Return the messages up to one that the server answers with ReadyForQuery; none at the end."""
    messages = b""
    while True:
        kind, message = _read_message(client)
        if kind == b"X":
            return b""
        messages += message
        if kind in (b"Q", b"S"):
            return messages


def _relay(server: socket.socket, client: socket.socket | None) -> bytes:
    """Forward messages up to ReadyForQuery; return the status of the transaction."""
    while True:
        kind, message = _read_message(server)
        if client is not None:
            client.sendall(message)
        if kind == b"Z":
            return message[5:]


def _read_message(end: socket.socket) -> tuple[bytes, bytes]:
    head = _read(end, 5)
    return head[:1], head + _read(end, struct.unpack("!i", head[1:])[0] - 4)


def _read(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = end.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data
