"""System checks: the settings, and the place of the middleware."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register

from .conf import SETTING, read

MIDDLEWARE = "cms_urlreload.middleware.UrlReloadMiddleware"
CORE_MIDDLEWARE = "cms.middleware.utils.ApphookReloadMiddleware"

#: Middleware that resolves or reverses URLs before the view does, and so must come after ours.
RESOLVING_MIDDLEWARE = frozenset(
    {
        "django.middleware.common.CommonMiddleware",
        "django.middleware.locale.LocaleMiddleware",
        "cms.middleware.language.LanguageCookieMiddleware",
        "cms.middleware.page.CurrentPageMiddleware",
        "cms.middleware.toolbar.ToolbarMiddleware",
        "cms.middleware.user.CurrentUserMiddleware",
    }
)

W001 = checks.Warning(
    f"{MIDDLEWARE} is not in MIDDLEWARE: processes that answer requests keep the apphook URLs "
    "that they started with.",
    hint="Add it at the top, after SecurityMiddleware. A project of task workers alone, which "
    "call cms_urlreload.tasks.ensure_fresh(), can silence this check.",
    id="cms_urlreload.W001",
)
E002 = Error(
    f"Both {MIDDLEWARE} and django CMS's own ApphookReloadMiddleware are in MIDDLEWARE: that one "
    "queries the database on every request, and while it reloads, apphooks are missing.",
    hint=f"Remove {CORE_MIDDLEWARE}.",
    id="cms_urlreload.E002",
)


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Each key and value of CMS_URLRELOAD."""
    _, problems = read()
    return [Error(p.message, hint=p.hint, id="cms_urlreload.E001") for p in problems]


def check_config_models(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Each model of CONFIG_MODELS is there."""
    found, _ = read()
    return [
        Error(
            f"{SETTING}['CONFIG_MODELS'] names {name!r}, and there is no such model.",
            hint='Write it as "app_label.ModelName"; its app must be in INSTALLED_APPS.',
            id="cms_urlreload.E004",
        )
        for name in found.config_models
        if not _is_model(name)
    ]


def _is_model(name: str) -> bool:
    try:
        apps.get_model(name)
    except LookupError:
        return False
    return True


def check_middleware_installed(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Our middleware is there, and django CMS's is not."""
    if MIDDLEWARE not in settings.MIDDLEWARE:
        return [W001]
    return [E002] if CORE_MIDDLEWARE in settings.MIDDLEWARE else []


def check_middleware_order(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Nothing in front of our middleware resolves a URL."""
    order = list(settings.MIDDLEWARE)
    if MIDDLEWARE not in order:
        return []
    before = order[: order.index(MIDDLEWARE)]
    too_early = [path for path in before if path in RESOLVING_MIDDLEWARE]
    if not too_early:
        return []
    return [
        checks.Warning(
            f"{MIDDLEWARE} comes after {', '.join(too_early)}, which may resolve a URL before it "
            "is current.",
            hint=f"Move {MIDDLEWARE} above {too_early[0]}.",
            id="cms_urlreload.W003",
        )
    ]


def register_all() -> None:
    """Register the checks of this module; called by the app's ready()."""
    for check in (
        check_settings,
        check_config_models,
        check_middleware_installed,
        check_middleware_order,
    ):
        register(check)
