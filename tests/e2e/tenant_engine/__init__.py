"""A database engine as multi-tenant packages have it."""
