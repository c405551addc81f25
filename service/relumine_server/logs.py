"""How the server logs: lines on standard error. Keys and secrets that slip into one are masked."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

SECRET = re.compile(r"(rlm_(?:ingest|read|admin)_|whsec_)[0-9A-Za-z+/=_-]+")


def to_stderr(level: str) -> None:
    """Log lines of this level and above. Tracebacks come without local variables: those hold what people sent."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # below it tells whole addresses, also those of webhooks
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            masked,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def masked(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The event without keys and signing secrets."""
    return {name: SECRET.sub(r"\1…", value) if isinstance(value, str) else value for name, value in event.items()}
