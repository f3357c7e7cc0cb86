"""Connects the checks, the commit hook and the task signals. Starts no thread, makes no query."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CmsUrlReloadConfig(AppConfig):
    """The app ``cms_urlreload``."""

    name = "cms_urlreload"
    verbose_name = _("Apphook URLs")

    def ready(self) -> None:
        """Called by Django once all models are loaded."""
        from . import caches, checks, commit_hook, conf, history, process, task_signals

        checks.register_all()
        caches.key_by_token(process.state)
        commit_hook.connect()
        history.connect()
        task_signals.connect()
        settings, _ = conf.read()
        if settings.metrics:
            # Not before it is asked for: nobody else has to have prometheus_client.
            from . import metrics

            metrics.connect()
