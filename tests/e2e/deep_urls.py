"""A root urlconf that has django CMS two includes deep, and without languages."""

from django.urls import include, path

from tests.e2e.controls import views

_inner = [path("cms/", include("cms.urls"))]
urlpatterns = [
    path("controls/reverse/", views.reversed_name),
    path("deep/", include(_inner)),
]
