"""Connects the checks, the commit hook and the task signals. Starts no thread, makes no query."""

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _


class CmsUrlReloadConfig(AppConfig):
    """The app ``cms_urlreload``."""

    name = "cms_urlreload"
    verbose_name = _("Apphook URLs")

    def import_models(self) -> None:
        """Called by Django once all apps are known.

        :raises ImproperlyConfigured: without django CMS. No system check could tell: Django itself
            gives up at the first model of it that is imported.
        """
        if not apps.is_installed("cms"):
            raise ImproperlyConfigured(
                "cms_urlreload is in INSTALLED_APPS, and django CMS is not: add 'cms', and what "
                "its documentation lists."
            )
        super().import_models()
        from . import overrides

        overrides.replace_early()

    def ready(self) -> None:
        """Called by Django once all models are loaded."""
        from . import checks, commit_hook, conf, history, overrides, process, task_signals

        checks.register_all()
        overrides.replace_others(process.state)
        commit_hook.connect()
        history.connect()
        task_signals.connect()
        settings, _ = conf.read()
        if settings.metrics:
            # Not before it is asked for: nobody else has to have prometheus_client.
            from . import metrics

            metrics.connect()
