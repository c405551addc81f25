"""One TLS context for all clients of a process that verify in the same way: a new one reads all root certificates.

``httpx.get`` and the SDK create a context each time, for addresses without TLS too.
"""

from __future__ import annotations

import functools
import os
import ssl
from typing import Any

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def install() -> None:
    """Share the contexts of clients that verify as httpx does by default. It imports httpx only now."""
    from httpx._transports import default

    create = default.create_ssl_context

    @functools.cache
    def create_default(_files: tuple[str | None, ...]) -> ssl.SSLContext:
        return create(verify=True)

    def create_ssl_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:  # noqa: FBT001, FBT002 - httpx's own
        if verify is True and cert is None and trust_env:
            return create_default(tuple(map(os.environ.get, VARIABLES)))
        return create(verify=verify, cert=cert, trust_env=trust_env)

    default.create_ssl_context = create_ssl_context
