"""Gives the page in the admin a name and permissions. Makes no table."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    """A proxy of django CMS's own model."""

    # As in cms_urlreload_pg: the model has been there since, in each supported version.
    dependencies: ClassVar = [("cms", "0034_remove_pagecontent_placeholders")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="ApphookUrls",
            fields=[],
            options={
                "verbose_name": "apphook URLs",
                "verbose_name_plural": "apphook URLs",
                "permissions": [("reload_urls", "Can reload the apphook URLs of all workers")],
                "proxy": True,
                "default_permissions": ("view",),
                "indexes": [],
                "constraints": [],
            },
            bases=("cms.urlconfrevision",),
        )
    ]
