from __future__ import annotations

from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin

from tests.bench.aldryn import utils


class ApphookReloadMiddleware(MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> None:
        utils.ensure_urlconf_is_up_to_date()
