"""The events; the apphook includes this below its page."""

from __future__ import annotations

from django.urls import path

from tests.demo.events import views

urlpatterns = [
    path("", views.EventListView.as_view(), name="event-list"),
    path("<slug:slug>/", views.EventView.as_view(), name="event"),
]
