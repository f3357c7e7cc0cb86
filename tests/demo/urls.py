"""URLs of the demo site: a few outside of django CMS, then the languages, ``cms.urls`` last."""

from __future__ import annotations

from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import include, path

from tests.demo import views

urlpatterns = [
    path("ping/", views.ping, name="ping"),
    path("aping/", views.aping, name="aping"),
    path("whoami/", views.whoami, name="whoami"),
    # Straight from the apps' folders, also without DEBUG: this is a demo, not a deployment.
    path("static/<path:path>", serve, {"insecure": True}),
    *i18n_patterns(
        path("admin/", admin.site.urls),
        path("", include("cms.urls")),
    ),
]
