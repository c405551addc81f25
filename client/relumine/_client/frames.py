"""Series as a DataFrame, where pandas is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from relumine.schemas.chart import Series


def frame_of(read_series: Callable[[], Series]) -> Any:
    """Return a series as a ``pandas.DataFrame``. Raises ImportError without pandas, before anything is read."""
    try:
        import pandas  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: PLC0415, ICN001 - optional
    except ImportError as error:
        raise ImportError("series_frame needs pandas: pip install pandas") from error
    series = read_series()
    columns: dict[str, list[float | None]] = {}
    for name, extremes in series.statistics.items():
        columns[name] = extremes.last
        columns[f"{name}_min"] = extremes.min
        columns[f"{name}_max"] = extremes.max
    return pandas.DataFrame(columns, index=pandas.Index(series.step, name="step"), dtype="float64")
