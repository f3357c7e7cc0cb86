"""Gives the page in the admin a name and permissions, and takes them away. Makes no table."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


def take_away(apps: Any, schema_editor: Any) -> None:
    """Backwards. Django has put these rows in after the migration, and leaves them there."""
    alias = schema_editor.connection.alias
    try:
        permissions = apps.get_model("auth", "Permission").objects.using(alias)
        types = apps.get_model("contenttypes", "ContentType").objects.using(alias)
    except LookupError:
        return  # their tables were never made
    permissions.filter(content_type__app_label="cms_urlreload").delete()
    types.filter(app_label="cms_urlreload").delete()


class Migration(migrations.Migration):
    """A model without a table."""

    # None on auth and contenttypes, for take_away(): a site whose test settings switch off their
    # migrations could not load the graph. Django migrates them before: it goes by apps' names.
    dependencies: ClassVar = []

    operations: ClassVar = [
        migrations.CreateModel(
            name="ApphookUrls",
            fields=[("id", models.BigAutoField(primary_key=True, serialize=False))],
            options={
                "verbose_name": "apphook URLs",
                "verbose_name_plural": "apphook URLs",
                "permissions": [("reload_urls", "Can reload the apphook URLs of all workers")],
                "managed": False,
                "base_manager_name": "objects",
                "default_permissions": ("view",),
            },
        ),
        migrations.RunPython(migrations.RunPython.noop, take_away, elidable=False),
    ]
