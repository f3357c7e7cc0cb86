from __future__ import annotations

from django.db import models


class UrlconfRevision(models.Model):
    revision = models.CharField(max_length=255)
