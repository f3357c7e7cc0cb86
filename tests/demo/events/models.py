"""Events."""

from __future__ import annotations

from django.db import models
from django.urls import reverse


class Event(models.Model):
    """One event; its URL depends on the page that the apphook is attached to."""

    title = models.CharField(max_length=200)
    slug = models.SlugField(unique=True)
    place = models.CharField(max_length=200, blank=True)
    date = models.DateField()

    class Meta:
        ordering = ("date", "slug")

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("events:event", args=[self.slug])
