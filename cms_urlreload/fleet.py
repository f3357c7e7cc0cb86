"""The processes of all hosts that are told of changes, as the database knows them: who they are,
what they serve, and whether that is what is committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from .state import Token


@dataclass(frozen=True)
class Worker:
    """One process."""

    host: str
    pid: int
    #: The short form of the token that its URLs were built from; None before its first build.
    served: str | None
    #: Whether it will look at the token before its next answer.
    is_due: bool
    #: Since when it is told of changes; None where this is not shown to everybody.
    since: datetime | None

    def is_current(self, token: Token) -> bool:
        """Whether it serves the state of the database that has this token."""
        return self.served == token.short

    def knows(self, token: Token) -> bool:
        """Whether its next answer will be of that state: it serves it, or looks first."""
        return self.is_due or self.is_current(token)


class Finding(NamedTuple):
    """One line of an examination."""

    #: What was looked at.
    what: str
    is_good: bool
    #: What was found.
    text: str
    #: What to do about it; "" if nothing is to be done.
    remedy: str = ""
