"""Apphook pages by the hundred, whose view costs next to nothing."""
