"""An app whose answers show, in one request and without a query, which state of the database a
process serves; and whose apphook can be made to take its time."""
