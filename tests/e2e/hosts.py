"""Hosts of the demo site: one has django CMS two includes deep."""

from django.conf import settings
from django_hosts import host, patterns

host_patterns = patterns(
    "",
    host(r"deep", "tests.e2e.deep_urls", name="deep"),
    host(r".*", settings.ROOT_URLCONF, name="www"),
)
