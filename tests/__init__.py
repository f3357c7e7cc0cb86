"""Tests of django-cms-urlreload, with the demo site that the end-to-end tests drive."""
