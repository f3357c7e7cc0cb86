"""No table: what the page in the admin and its permissions are named after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    Manager = models.Manager[Any]
else:
    Manager = models.Manager


class NoRows(Manager):
    """For what reads the rows of every model, as ``dumpdata`` does: none, without a query."""

    def get_queryset(self) -> models.QuerySet[Any]:
        """Return a queryset that is empty and stays so."""
        return super().get_queryset().none()


class ApphookUrls(models.Model):
    """The apphook URLs of all processes.

    Not a proxy of a model of django CMS: its migration would depend on django CMS's, and test
    settings switch those off.
    """

    # As in the migration, whatever DEFAULT_AUTO_FIELD is.
    id = models.BigAutoField(primary_key=True)

    objects: ClassVar[Manager] = NoRows()

    class Meta:
        """The permissions: to see the page, and to press the button."""

        managed = False
        base_manager_name = "objects"
        default_permissions = ("view",)
        permissions: ClassVar = [("reload_urls", "Can reload the apphook URLs of all workers")]
        verbose_name = verbose_name_plural = _("apphook URLs")

    def __str__(self) -> str:
        return str(self._meta.verbose_name)
