"""A small app with an apphook, for the demo site."""
