"""The page "Apphook URLs" in Django's admin: what all workers serve, which routes there are, and
what is wrong. It asks nobody until somebody opens it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from .conf import read
from .history import last_reloads
from .models import ApphookUrls
from .state import Reason

# What the page asks is imported when somebody opens it: Django imports this module at the start of
# every process.
if TYPE_CHECKING:
    from .fleet import Worker
    from .report import FleetReport
    from .routes import Route

    ModelAdmin = admin.ModelAdmin[ApphookUrls]
else:
    ModelAdmin = admin.ModelAdmin

#: Why a process looked at the token and found another, for people.
WHY: dict[Reason, Any] = {
    "first": _("its first look"),
    "test": _("a test asked for it"),
    "asked": _("a person asked for it"),
    "own": _("its own commit"),
    "announced": _("a notification"),
    "heartbeat": _("the heartbeat found it: nobody had announced it"),
    "listening": _("it began to listen, and had heard nothing before"),
    "forked": _("its first look after the fork"),
    "polled": _("a poll"),
}

#: Seconds after which the page fetches the part of it that changes, where JavaScript is there.
REFRESH_EVERY = 5


@admin.register(ApphookUrls)
class ApphookUrlsAdmin(ModelAdmin):
    """One page, and a button on it."""

    def get_urls(self) -> list[URLPattern]:
        """Return the URLs of the page, in the place of the list of objects, and of the button."""
        wrap, reload = self.admin_site.admin_view, require_POST(self.reload_view)
        return [
            path("", wrap(self.changelist_view), name=self._name("changelist")),
            path("reload/", wrap(reload), name=self._name("reload")),
        ]

    def _name(self, view: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{view}"

    def _url(self, name: str, *args: Any) -> str:
        return reverse(f"admin:{name}", args=args, current_app=self.admin_site.name)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """There is nothing to add."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """There is nothing to change."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """There is nothing to delete."""
        return False

    def has_reload_permission(self, request: HttpRequest) -> bool:
        """Whether this user may have all workers reload."""
        return request.user.has_perm(f"{self.opts.app_label}.reload_urls")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the page; with ``?live`` only the part of it that changes."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = self._what_changes(request)
        if "live" in request.GET:
            # Without the base template: that would show, and so forget, the user's messages.
            return TemplateResponse(request, "admin/cms_urlreload/live.html", context)
        context |= {
            **self.admin_site.each_context(request),
            "title": _("Apphook URLs"),
            "opts": self.opts,
            "refresh_every": REFRESH_EVERY,
            "reload_url": self._url(self._name("reload")),
            "may_reload": self.has_reload_permission(request),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/cms_urlreload/page.html", context)

    def _what_changes(self, request: HttpRequest) -> dict[str, Any]:
        from .report import is_good, report_fleet, run_own_checks
        from .routes import read_routes
        from .status import get_status

        report = report_fleet()
        settings, _problems = read()
        return {
            "now": timezone.now(),
            "report": report,
            "workers": list(_with_states(report)),
            "hides_since": any(worker.since is None for worker in report.workers or ()),
            "poll_interval": settings.poll_interval,
            "status": get_status(),
            "routes": [(route, self._settings_url(request, route)) for route in read_routes()],
            "findings": [(message, is_good(message)) for message in run_own_checks()],
            "reloads": [(reload, WHY[reload.reason]) for reload in last_reloads()],
        }

    def _settings_url(self, request: HttpRequest, route: Route) -> str:
        """Return where the apphook of a page is set; "" if this user may not, or cannot here."""
        if not request.user.has_perm("cms.change_page"):
            return ""
        try:
            return self._url("cms_page_advanced", route.page_id)
        except NoReverseMatch:
            return ""  # an admin site of the project's own, without the pages

    def reload_view(self, request: HttpRequest) -> HttpResponse:
        """Have all workers build their URLs anew."""
        if not (self.has_view_permission(request) and self.has_reload_permission(request)):
            raise PermissionDenied
        from .report import reload_all

        reload_all()
        self.message_user(
            request,
            _("Announced: every worker builds its URLs anew before its next answer."),
            messages.SUCCESS,
        )
        return redirect(self._url(self._name("changelist")))


def _with_states(report: FleetReport) -> Iterator[tuple[Worker, str]]:
    for worker in report.workers or ():
        if worker.is_current(report.token):
            yield worker, "current"
        else:
            yield worker, "due" if worker.knows(report.token) else "behind"
