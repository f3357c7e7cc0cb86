"""What tests and the demo need around the product: a real PostgreSQL, waiting with a deadline."""
