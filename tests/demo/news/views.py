"""Views of the news app, as functions."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from tests.demo.news.models import Story


def story_list(request: HttpRequest) -> HttpResponse:
    context = {"title": "News", "stories": Story.objects.all()}
    return render(request, "news/story_list.html", context)


def story(request: HttpRequest, slug: str) -> HttpResponse:
    return render(request, "news/story.html", {"story": get_object_or_404(Story, slug=slug)})


def archive(request: HttpRequest, year: int) -> HttpResponse:
    context = {"title": f"News of {year}", "stories": Story.objects.filter(published__year=year)}
    return render(request, "news/story_list.html", context)


def render_story(request: HttpRequest, story: Story) -> HttpResponse:
    """What the toolbar's edit and preview endpoints show for a story."""
    return render(request, "news/story.html", {"story": story})
