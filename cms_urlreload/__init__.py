"""Keeps the apphook URLs of every django CMS process current, without a query per request."""

__version__ = "0.1.0"
