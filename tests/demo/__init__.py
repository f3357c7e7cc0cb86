"""The demo: a real django CMS site with two small apps, driven by an editor over HTTP.

The end-to-end tests drive the same site. ``python -m tests.demo --help`` shows what it can do.
"""
