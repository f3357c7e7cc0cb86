"""What can be said of all processes together: for the command, and whoever else shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cms.models import PageUrl
from cms.models.apphooks_reload import UrlconfRevision
from cms.utils.apphook_reload import mark_urlconf_as_changed
from django.core import checks
from django.db import connections, router, transaction

from .commit_hook import announce_on_commit
from .conf import read
from .fleet import Finding, Worker
from .process import get_transport
from .state import Token


@dataclass(frozen=True)
class FleetReport:
    """The token in the database, and the workers beside it."""

    token: Token
    #: None where it cannot be known who there is.
    workers: Sequence[Worker] | None
    vendor: str

    @property
    def behind(self) -> list[Worker]:
        """Those whose next answer may be of an older state."""
        return [worker for worker in self.workers or () if not worker.knows(self.token)]

    @property
    def all_know(self) -> bool | None:
        """Whether the next answer of each worker is of the committed state; None if there is
        nobody of whom that could be known."""
        return not self.behind if self.workers else None


def report_fleet() -> FleetReport:
    """Ask the database that pages are written to.

    :raises django.db.Error: if it cannot answer.
    """
    alias = router.db_for_write(PageUrl)
    transport = get_transport()
    # In this order: a change in between shows a worker as behind, and not one behind as current.
    workers = transport.fleet()
    return FleetReport(transport.read_token(alias), workers, connections[alias].vendor)


def reload_all() -> None:
    """Have every process build its URLs anew, though no row that decides routing has changed: for
    what ``get_urls()`` reads, and nobody declared."""
    alias = router.db_for_write(UrlconfRevision)
    with transaction.atomic(using=alias):
        mark_urlconf_as_changed()
        announce_on_commit(alias)


def examine() -> Iterable[Finding]:
    """Look at all that must be right for changes to be told; slowly, and with the database."""
    alias = router.db_for_write(PageUrl)
    found = [
        message
        for message in checks.run_checks(databases=[alias])
        if str(message.id).startswith("cms_urlreload")
    ]
    for message in found:
        is_good = message.level < checks.WARNING or message.is_silenced()
        yield Finding(str(message.id), is_good, message.msg, message.hint or "")
    if not found:
        yield Finding("checks", True, "The system checks of this package find nothing.")
    settings, _ = read()  # also what is wrong in them has been found by the checks
    yield from get_transport().examine(settings)
