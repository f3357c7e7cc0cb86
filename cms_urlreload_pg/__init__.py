"""Pushes changes of apphook URLs through PostgreSQL's LISTEN and NOTIFY."""
