from __future__ import annotations

from django.contrib import admin

from tests.e2e.sections.models import Section

admin.site.register(Section)
