"""The root urlconf of the sites on which all ways are gone: ``cms.urls`` is included right here,
because django CMS's own middleware reloads no other module.
"""

from __future__ import annotations

from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.urls import include, path

from tests.demo.views import ping
from tests.e2e.controls.views import reversed_name

urlpatterns = [
    path("ping/", ping),
    path("controls/reverse/", reversed_name),
    *i18n_patterns(
        path("admin/", admin.site.urls),
        path("", include("cms.urls")),
    ),
]
