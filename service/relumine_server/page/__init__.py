"""The page: static files, an ordinary client of /v1."""
