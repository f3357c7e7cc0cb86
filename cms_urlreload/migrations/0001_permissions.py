"""Gives the page in the admin a name and permissions, and takes them away. Makes no table."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations

from cms_urlreload import dependencies


def take_away(apps: Any, schema_editor: Any) -> None:
    """Backwards. Django has put these rows in after the migration, and leaves them there."""
    alias = schema_editor.connection.alias
    permissions = apps.get_model("auth", "Permission").objects.using(alias)
    permissions.filter(content_type__app_label="cms_urlreload").delete()
    types = apps.get_model("contenttypes", "ContentType").objects.using(alias)
    types.filter(app_label="cms_urlreload").delete()


class Migration(dependencies.Migration):
    """A proxy of django CMS's own model."""

    dependencies: ClassVar = [
        # As in cms_urlreload_pg: the model has been there since, in each supported version.
        ("cms", "0034_remove_pagecontent_placeholders"),
        # What take_away() needs; each is in the oldest Django that is supported.
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

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
        ),
        migrations.RunPython(migrations.RunPython.noop, take_away, elidable=False),
    ]
