from __future__ import annotations

from django.apps import AppConfig


class AldrynApphookReloadConfig(AppConfig):
    name = "tests.bench.aldryn"
    label = "aldryn_apphook_reload"
    default_auto_field = "django.db.models.AutoField"

    def ready(self) -> None:
        from cms.signals import urls_need_reloading

        from tests.bench.aldryn import utils

        dispatch_uid = "aldryn-apphook-reload-handle-urls-need-reloading"
        urls_need_reloading.disconnect(dispatch_uid=dispatch_uid)
        urls_need_reloading.connect(utils.trigger_server_restart, dispatch_uid=dispatch_uid)
