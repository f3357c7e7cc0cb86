from __future__ import annotations

from django.db import models


class Section(models.Model):
    """One URL of the apphook."""

    slug = models.SlugField(unique=True)
    note = models.CharField(max_length=50, blank=True)

    class Meta:
        app_label = "sections"

    def __str__(self) -> str:
        return self.slug
