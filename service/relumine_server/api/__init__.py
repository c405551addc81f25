"""The HTTP API: middleware, routes, request bodies and problem details. Everything HTTP is here and in ``ui``."""
