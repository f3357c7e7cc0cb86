"""The model of the app."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Story",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("title", models.CharField(max_length=200)),
                ("slug", models.SlugField(unique=True)),
                ("text", models.TextField(blank=True)),
                ("published", models.DateField()),
            ],
            options={
                "verbose_name_plural": "stories",
                "ordering": ("-published", "slug"),
            },
        ),
    ]
