"""System checks: the settings, the place of the middleware, and what is installed beside it.

docs/checks.md has each id, with what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cms.models import PageUrl
from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router

from . import tenants, transports, urltree
from .apphooks import site_id
from .conf import SETTING, read
from .token import config_models, is_beside_the_pages

MIDDLEWARE = "cms_urlreload.middleware.UrlReloadMiddleware"
CORE_MIDDLEWARE = "cms.middleware.utils.ApphookReloadMiddleware"
ALDRYN_APP = "aldryn_apphook_reload"
#: Middleware of others for the same job.
OTHER_MIDDLEWARE = (CORE_MIDDLEWARE, f"{ALDRYN_APP}.middleware.ApphookReloadMiddleware")

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


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Each key and value of CMS_URLRELOAD."""
    _, problems = read()
    return [Error(p.message, hint=p.hint, id="cms_urlreload.E001") for p in problems]


def check_setting_name(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """No setting that looks like ours, and that nobody reads."""
    return [
        checks.Warning(
            f"The setting {name} is read by nobody.",
            hint=f"All options are keys of one dictionary, {SETTING}.",
            id="cms_urlreload.W005",
        )
        for name in dir(settings)
        if name != SETTING and name.replace("_", "").startswith(SETTING.replace("_", ""))
    ]


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


def check_config_databases(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """The rows of CONFIG_MODELS are in the database that pages are written to."""
    pages = router.db_for_write(PageUrl)
    return [
        checks.Warning(
            f"{SETTING}['CONFIG_MODELS'] names {model._meta.label!r}, whose rows are in the "
            f"database {router.db_for_write(model)!r} and the pages in {pages!r}: they do not "
            "count for the token.",
            hint="Leave it out, and send cms.signals.urls_need_reloading after each change.",
            id="cms_urlreload.W006",
        )
        for model in config_models()
        if not is_beside_the_pages(model)
    ]


def check_middleware_installed(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Our middleware is there, by its right name, and none of others for the same job."""
    ours = MIDDLEWARE in settings.MIDDLEWARE
    others = [path for path in OTHER_MIDDLEWARE if path in settings.MIDDLEWARE]
    misspelled = [
        path
        for path in settings.MIDDLEWARE
        if path.startswith("cms_urlreload") and path != MIDDLEWARE
    ]
    found: list[CheckMessage] = [_misspelled(path) for path in misspelled]
    if ours:
        return found + [_both(path) for path in others]
    if misspelled:
        return found
    return [_instead_of(path) for path in others] or [W001]


def _misspelled(path: str) -> CheckMessage:
    return Error(
        f"MIDDLEWARE has {path!r}, and there is no such middleware.",
        hint=f"Write it as {MIDDLEWARE!r}.",
        id="cms_urlreload.E007",
    )


def _both(path: str) -> CheckMessage:
    return Error(
        f"Both {MIDDLEWARE} and {path} are in MIDDLEWARE: that one queries the database on every "
        "request, and while it reloads, apphooks are missing.",
        hint=f"Remove {path}.",
        id="cms_urlreload.E002",
    )


def _instead_of(path: str) -> CheckMessage:
    return checks.Warning(
        f"{MIDDLEWARE} is not in MIDDLEWARE, and {path} is: processes that answer requests follow "
        "what that one notices, at a query for each of them.",
        hint=f"Put {MIDDLEWARE} in the place of {path}.",
        id="cms_urlreload.W001",
    )


def check_aldryn(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """The package that this one takes the place of is gone."""
    if not apps.is_installed(ALDRYN_APP):
        return []
    return [
        checks.Warning(
            f"{ALDRYN_APP} is in INSTALLED_APPS, and of no use any more.",
            hint=f"Run 'manage.py migrate {ALDRYN_APP} zero', then remove it and its middleware.",
            id="cms_urlreload.W008",
        )
    ]


def check_site_id(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """SITE_ID is set where django CMS needs it."""
    try:
        site_id()
    except ImproperlyConfigured as error:
        return [
            Error(
                str(error),
                hint="Set it, in the settings of each site's processes.",
                id="cms_urlreload.E009",
            )
        ]
    except ValueError:
        return []  # no number; django.contrib.sites tells (sites.E101)
    return []


def check_push(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """What could push from the database of the pages is installed."""
    alias = router.db_for_write(PageUrl)
    app = transports.APPS.get(connections[alias].vendor)
    if app is None or apps.is_installed(app):
        return []
    return [
        checks.Warning(
            f"The pages are in the database {alias!r}, which could push, and is polled: {app} is "
            "not in INSTALLED_APPS.",
            hint=f"Add {app!r} to INSTALLED_APPS, and run 'manage.py migrate'. If polling is meant "
            'to be so, silence this with SILENCED_SYSTEM_CHECKS = ["cms_urlreload.W010"].',
            id="cms_urlreload.W010",
        )
    ]


def check_tenants(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """All requests find the pages in the same schema."""
    found = tenants.trouble()
    if found is None:
        return []
    return [Error(found, hint=tenants.INSTEAD, id="cms_urlreload.E011")]


def check_urlconfs(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """ROOT_URLCONF does nothing with the patterns of django CMS that cannot be followed.

    Makes no query. That ROOT_URLCONF is imported may make one, as in Django's own check of it.
    """
    try:
        survey = urltree.survey_root()
    except Exception:
        return []  # Django's own check tells what is wrong with it
    if survey.findings:
        return [
            checks.Warning(
                f"ROOT_URLCONF ({settings.ROOT_URLCONF}) is imported again at each change of "
                f"apphook URLs, as django CMS does it. {' '.join(survey.findings)}",
                hint=urltree.REMEDY,
                id="cms_urlreload.W012",
            )
        ]
    if survey.root_leads:
        return []
    return [
        checks.Info(
            f"ROOT_URLCONF ({settings.ROOT_URLCONF}) does not include cms.urls: apphooks have no "
            "URLs there.",
            hint='Add path("", include("cms.urls")), unless another urlconf of the site has it.',
            id="cms_urlreload.I013",
        )
    ]


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
        check_setting_name,
        check_config_models,
        check_config_databases,
        check_middleware_installed,
        check_middleware_order,
        check_aldryn,
        check_site_id,
        check_push,
        check_tenants,
    ):
        register(check)
    # Where Django looks at ROOT_URLCONF, and nowhere else.
    register(check_urlconfs, checks.Tags.urls)
