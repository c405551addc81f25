"""The table of the detector's thresholds, from ``relumine_server.detection.policy``."""

from __future__ import annotations

from relumine_server.detection.policy import THRESHOLDS

HEADER = "| threshold | default | range | reason for the default |\n|---|---|---|---|"


def table() -> str:
    """Return one row per threshold, in the order of the code."""
    rows = []
    for name, threshold in THRESHOLDS.items():
        bounds = f"{threshold.minimum:g} … {threshold.maximum:,g}"
        reason = threshold.reason.replace("|", "\\|")
        rows.append(f"| `{name}` | {threshold.default:.4g} | {bounds} | {reason} |")
    return "\n".join([HEADER, *rows])
