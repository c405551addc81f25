"""Limits of the numbers in JSON; imports nothing, so that commands that only print their help stay fast."""

from __future__ import annotations

MAX_STEP = 2**53 - 1
"""The largest integer that JavaScript readers hold exactly."""
