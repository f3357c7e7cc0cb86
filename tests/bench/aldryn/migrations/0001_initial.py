from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = []  # noqa: RUF012  # the form of Django's own

    operations = [  # noqa: RUF012
        migrations.CreateModel(
            name="UrlconfRevision",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("revision", models.CharField(max_length=255)),
            ],
        )
    ]
