"""How a process hears of changes, and how it tells others: the interface, and polling.

A transport puts the state in doubt (``State.mark_dirty``) or vouches for it (``extend_lease``);
it never touches a URL. Packages for one kind of database register theirs here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from django.db import connections, router

from .conf import Settings
from .fleet import Finding, Worker
from .mode import ModeTeller
from .state import Reason, State, Token
from .token import read_token


class Transport:
    """Base of all transports, and the rule for what a subclass must keep:

    * a change that it announces, or hears of, is one that was committed;
    * it vouches (``state.extend_lease``) only for as long as it would hear of a change;
    * it may tell too often and never too rarely, or its lease must run out;
    * none of its methods fails because another process, or the database, is gone, but
      :meth:`read_token`, which raises what the database raises.
    """

    def __init__(self, state: State, reason: str = "nothing was started yet.") -> None:
        """:param reason: why this process polls as long as nothing else is told."""
        self.state = state
        self.mode = ModeTeller(reason)

    def ensure_started(self) -> None:
        """Start hearing, if that takes something to be started; called when the state is due."""

    def announce(self, alias: str, reason: Reason = "own") -> None:
        """Tell all other processes that a transaction on this database changed routing.

        :param reason: "asked" if a person asks for a reload, which the others should know.
        """

    def refreshed(self, changed: bool) -> None:
        """Take note that this process has looked at the token, and whether ``state.applied`` is
        another one now."""

    def lapsed(self) -> None:
        """Take note that this process had to look by itself, because the lease had run out."""

    def unheard_for(self, now: float) -> float | None:
        """Return for how many seconds it has not been proved that this process would be told of a
        change: 0.0 while it is. None if it is not meant to be told, or has not begun to listen."""
        return None

    def counters(self) -> dict[str, int]:
        """Return what was counted since the start of the process, for people."""
        return {}

    def read_token(self, alias: str) -> Token:
        """Read the token from a database that this transport is for."""
        return read_token(alias)

    def fleet(self) -> list[Worker] | None:
        """Return the processes that are told of changes, on all hosts; None if that cannot be
        known."""
        return None

    def examine(self, settings: Settings) -> Iterable[Finding]:
        """Look at what this transport needs, for a person who asks what is wrong."""
        yield Finding(
            "transport",
            True,
            f"Poll: {self.mode.current.reason} Each process asks every "
            f"{settings.poll_interval:g} seconds.",
        )

    def stop(self) -> None:
        """Stop hearing; called once, when the process ends. Returns within about a second."""

    def abandon(self) -> None:
        """In a forked child: drop all that belongs to the parent, and touch none of it."""


class PollingTransport(Transport):
    """Hears nothing, so nothing is vouched for longer than the poll interval: for databases that
    cannot push.

    :param remedy: what to do if it could push; "" where it is meant to be so, which the log need
        not have.
    """

    def __init__(
        self, state: State, reason: str = "it is meant to be so.", remedy: str = ""
    ) -> None:
        super().__init__(state, reason)
        self._told = (reason, remedy, logging.WARNING if remedy else logging.DEBUG)

    def ensure_started(self) -> None:
        """Tell that this process polls."""
        self.mode.poll(*self._told)


#: The app that registers a transport for a kind of database (``connection.vendor``), where there
#: is one: for a check that names it. Nothing of it is imported.
APPS = {"postgresql": "cms_urlreload_pg"}

Factory = Callable[[State], Transport]
_factories: dict[str, Factory] = {}


def register(vendor: str, factory: Factory) -> None:
    """Offer a transport for a kind of database (``connection.vendor``)."""
    _factories[vendor] = factory


def create_transport(state: State) -> Transport:
    """Create the transport for the database that pages are written to."""
    from cms.models import PageUrl

    vendor = connections[router.db_for_write(PageUrl)].vendor
    if vendor in _factories:
        return _factories[vendor](state)
    return PollingTransport(state, f"there is nothing here that pushes from {vendor}.")
