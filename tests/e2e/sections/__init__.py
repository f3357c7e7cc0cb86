"""An app whose apphook reads its URLs from rows, and processes that answer no requests."""
