"""What it costs and how fast it is, beside every rival in the same run: ``make bench``."""
