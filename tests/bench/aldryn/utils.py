from __future__ import annotations

import sys
import uuid
from importlib import reload
from typing import Any

import cms.appresolver
from django.conf import settings
from django.urls import clear_url_caches

_urlconf_revision: dict[str, str] = {}


def trigger_server_restart(**kwargs: Any) -> None:
    set_global_revision(str(uuid.uuid4()))


def ensure_urlconf_is_up_to_date() -> None:
    global_revision = get_global_revision()
    if global_revision != _urlconf_revision.get("urlconf_revision"):
        reload_urlconf(new_revision=global_revision)


def get_global_revision() -> str:
    from tests.bench.aldryn.models import UrlconfRevision

    revision, _ = UrlconfRevision._default_manager.get_or_create(
        id=1, defaults={"revision": str(uuid.uuid4())}
    )
    return revision.revision


def set_global_revision(new_revision: str) -> None:
    from tests.bench.aldryn.models import UrlconfRevision

    if UrlconfRevision._default_manager.update(id=1, revision=new_revision) < 1:
        UrlconfRevision._default_manager.get_or_create(id=1, defaults={"revision": new_revision})


def reload_urlconf(new_revision: str) -> None:
    for urlconf in ("cms.urls", settings.ROOT_URLCONF):
        if urlconf in sys.modules:
            reload(sys.modules[urlconf])
    cms.appresolver.clear_app_resolvers()
    clear_url_caches()
    cms.appresolver.get_app_patterns()
    _urlconf_revision["urlconf_revision"] = new_revision
