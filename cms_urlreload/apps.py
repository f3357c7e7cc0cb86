"""Connects the commit hook and the checks. Starts no thread and makes no query."""

from django.apps import AppConfig


class CmsUrlReloadConfig(AppConfig):
    """The app ``cms_urlreload``."""

    name = "cms_urlreload"
    verbose_name = "Apphook URLs"

    def ready(self) -> None:
        """Called by Django once all models are loaded."""
        from . import checks, commit_hook

        checks.register_all()
        commit_hook.connect()
