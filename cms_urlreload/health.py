"""A check for django-health-check 4: is this process told of changes, where it is meant to be?

It asks nobody and starts nothing. That is the middleware's part, which every probe that Django
routes has passed: so a worker whose first request is the probe begins to listen by it, and an idle
one whose listener has died gets another by the probe that tells of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable

from .process import get_transport

if TYPE_CHECKING:
    from .mode import Mode


@dataclass(repr=False)
class ApphookUrls(HealthCheck):  # type: ignore[misc]  # untyped base
    """Unhealthy if this process is meant to be told of changes, and the lease of its listener has
    run out, or was never had since it began, for longer than ``grace``. Until it is told again, it
    polls: its answers are right, and each second costs a query.

    Healthy if it polls on purpose (another database than PostgreSQL, no psycopg, ``LISTEN`` is
    False), which its name in the report then says, and if it has not begun to listen: such a
    process has not answered a request yet.

    ``grace`` is an argument of the check, as django-health-check has it, and no key of
    ``CMS_URLRELOAD``: one site may have a readiness probe that waits and an alarm that does not::

        HealthCheckView.as_view(checks=[
            ("cms_urlreload.health.ApphookUrls", {"grace": timedelta(minutes=5)}),
        ])

    :param grace: longer than what your PostgreSQL takes for a restart or a failover, or all
        workers are unready at once, while they answer.
    """

    grace: timedelta = timedelta(seconds=60)

    async def run(self) -> None:
        """Look.

        :raises ServiceUnavailable: says for how long, why, and what to do. The reason is what the
            log has, and may name the database's host and role; never a password.
        """
        transport = get_transport()
        seconds = transport.unheard_for(monotonic())
        if seconds is not None and seconds > self.grace.total_seconds():
            raise ServiceUnavailable(
                f"Not told of changes for {seconds:.0f} seconds: {_why(transport.mode.current)}"
            )

    def __repr__(self) -> str:
        """What a report calls the check. It is the same for as long as the settings are."""
        transport = get_transport()
        if transport.unheard_for(monotonic()) is not None:
            return "ApphookUrls(push)"
        return f"ApphookUrls(poll: {transport.mode.current.reason})"


def _why(mode: Mode) -> str:
    if mode.name == "push":
        # Nobody has said anything else yet: whoever would have done so is gone, or stuck.
        return "the listener's thread has ended, or hangs. The next request starts another."
    return f"{mode.reason} {mode.remedy}".rstrip()
