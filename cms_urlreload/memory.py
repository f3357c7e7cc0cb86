"""A transport between the states of one process: for tests, and to show how little one needs."""

from __future__ import annotations

from .state import Reason, State
from .transports import Transport


class Bus:
    """What the transports of one test are connected by."""

    def __init__(self) -> None:
        self.transports: list[InMemoryTransport] = []


class InMemoryTransport(Transport):
    """Hears every announcement on its bus at once, and vouches for as long as it is started."""

    def __init__(self, state: State, bus: Bus) -> None:
        super().__init__(state)
        self._bus = bus

    def ensure_started(self) -> None:
        """Join the bus."""
        if self not in self._bus.transports:
            self._bus.transports.append(self)
            self.state.mark_dirty("listening")
            self.state.extend_lease(float("inf"))
            self.mode.push("on a bus of this process.")

    def announce(self, alias: str, reason: Reason = "own") -> None:
        """Tell all others on the bus."""
        for transport in self._bus.transports:
            if transport is not self:
                transport.state.mark_dirty("asked" if reason == "asked" else "announced")

    def unheard_for(self, now: float) -> float | None:
        """Return for how many seconds it has not been on the bus."""
        return self.state.unheard_for(now)

    def stop(self) -> None:
        """Leave the bus."""
        if self in self._bus.transports:
            self._bus.transports.remove(self)
        self.state.expire_lease()
