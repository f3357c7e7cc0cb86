"""The root urlconf of the tests: that of the demo site, and the controls. It counts how often it
is executed."""

from __future__ import annotations

import os
from pathlib import Path

from django.urls import path

from tests.demo.urls import urlpatterns as demo_urlpatterns
from tests.e2e.controls import views

if "CONTROLS_IMPORTS" in os.environ:
    with Path(os.environ["CONTROLS_IMPORTS"]).open("a") as file:
        file.write(f"{os.getpid()}\n")

urlpatterns = [
    path("controls/change/", views.change_in_transaction),
    path("controls/append/", views.append),
    path("controls/stand-still/", views.stand_still),
    path("controls/reverse/", views.reversed_name),
    path("controls/areverse/", views.async_reversed_name),
    *demo_urlpatterns,
]
