"""No table: what the page in the admin and its permissions are named after."""

from __future__ import annotations

from typing import ClassVar

from cms.models.apphooks_reload import UrlconfRevision
from django.utils.translation import gettext_lazy as _


class ApphookUrls(UrlconfRevision):  # type: ignore[misc]
    """The apphook URLs of all processes."""

    class Meta:
        """The permissions: to see the page, and to press the button."""

        proxy = True
        default_permissions = ("view",)
        permissions: ClassVar = [("reload_urls", "Can reload the apphook URLs of all workers")]
        verbose_name = verbose_name_plural = _("apphook URLs")

    def __str__(self) -> str:
        return str(self._meta.verbose_name)
