"""Views of the events app, as classes."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views import View

from tests.demo.events.models import Event


class EventListView(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return render(request, "events/event_list.html", {"events": Event.objects.all()})


class EventView(View):
    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        return render(request, "events/event.html", {"event": get_object_or_404(Event, slug=slug)})
