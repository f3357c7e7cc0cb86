"""Whether this process is told of changes or has to ask, and why: told to the operator once, at
each change of it, by one line of the log and one signal.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Literal

from .signals import mode_changed

logger = logging.getLogger(__name__)

Name = Literal["push", "poll"]


@dataclass(frozen=True)
class Mode:
    """One stretch of a process's life."""

    name: Name
    #: Why it is so, for people.
    reason: str
    #: What to do if it should not be so; "" where nothing is to be done.
    remedy: str = ""
    since: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


class ModeTeller:
    """Keeps the mode of a transport, and tells its changes. Any thread may call any method.

    :param reason: why the process polls as long as nothing else is said.
    """

    def __init__(self, reason: str) -> None:
        self._first = Mode("poll", reason)
        self.current = self._first
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._told: Name | None = None
        # Some, so that two reasons that take turns in a long outage are told once each.
        self._reasons: deque[str] = deque(maxlen=8)

    def reset_after_fork(self) -> None:
        """In a forked child: nothing was told yet, and what the parent hears is not heard here."""
        self.current = self._first
        self._reset()

    def push(self, reason: str) -> None:
        """From now on this process is told of changes."""
        if self.current.name == "push":
            return
        mode = Mode("push", reason)
        with self._lock:
            self._reasons.clear()
            changed, self._told, self.current = self._told != "push", "push", mode
        if changed:
            logger.info("Push: %s", reason)
            mode_changed.send_robust(ModeTeller, mode=mode)

    def poll(self, reason: str, remedy: str = "", level: int = logging.WARNING) -> bool:
        """From now on this process has to ask. A second reason, while it does, is told as well,
        but is no change.

        :param level: of the line in the log: DEBUG for what is meant to be so.
        :return: whether this was told now, and not before.
        """
        with self._lock:
            if self._told == "poll" and reason in self._reasons:
                return False
            self._reasons.append(reason)
            since = self.current.since if self._told == "poll" else datetime.now(timezone.utc)
            mode = Mode("poll", reason, remedy, since)
            changed, self._told, self.current = self._told != "poll", "poll", mode
        logger.log(level, "Poll: %s%s", reason, remedy and f" {remedy}")
        if changed:
            mode_changed.send_robust(ModeTeller, mode=mode)
        return True
