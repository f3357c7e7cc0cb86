"""The stories; the apphook includes this below its page."""

from __future__ import annotations

from django.urls import path

from tests.demo.news import views

urlpatterns = [
    path("", views.story_list, name="story-list"),
    path("<slug:slug>/", views.story, name="story"),
]
