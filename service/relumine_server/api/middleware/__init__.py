"""ASGI middleware, from the outermost in: request context, authentication, admission, uploads."""
