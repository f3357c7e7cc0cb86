"""What can be said of all processes together: for the command, and whoever else shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cms.models import PageUrl
from cms.models.apphooks_reload import UrlconfRevision
from cms.utils.apphook_reload import mark_urlconf_as_changed
from django.core import checks
from django.core.checks.registry import registry
from django.db import connections, router, transaction

from .checks import check_urlconfs
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
        announce_on_commit(alias, "asked")


def run_own_checks() -> list[checks.CheckMessage]:
    """Run the system checks of this package, those that ask the database included.

    :raises django.db.Error: if it cannot answer.
    """
    databases = [router.db_for_write(PageUrl)]
    return [
        message
        for check in registry.get_checks()
        if check.__module__.partition(".")[0] in ("cms_urlreload", "cms_urlreload_pg")
        for message in check(app_configs=None, databases=databases)
    ]


def is_good(message: checks.CheckMessage) -> bool:
    """Whether nothing is to be done about what a check has found."""
    return message.level < checks.WARNING or message.is_silenced()


def report_urlconfs() -> list[str]:
    """Return what ROOT_URLCONF does that cannot be followed, as sentences for a person."""
    return [
        message.msg
        for message in check_urlconfs(None)
        if message.level >= checks.WARNING and not message.is_silenced()
    ]


def examine() -> Iterable[Finding]:
    """Look at all that must be right for changes to be told; slowly, and with the database."""
    found = run_own_checks()
    for message in found:
        yield Finding(str(message.id), is_good(message), message.msg, message.hint or "")
    if not found:
        yield Finding("checks", True, "The system checks of this package find nothing.")
    settings, _ = read()  # also what is wrong in them has been found by the checks
    yield from get_transport().examine(settings)
