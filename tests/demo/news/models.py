"""Stories."""

from __future__ import annotations

from django.db import models
from django.urls import reverse


class Story(models.Model):
    """One story; its URL depends on the page that the apphook is attached to."""

    title = models.CharField(max_length=200)
    slug = models.SlugField(unique=True)
    text = models.TextField(blank=True)
    published = models.DateField()

    class Meta:
        ordering = ("-published", "slug")
        verbose_name_plural = "stories"

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("news:story", args=[self.slug])
