"""Uploads per second of a healthy training over its first hour, by the SDK's own pace on a simulated clock.

    python -m benchmarks.ingest.upload_rate [--seconds 3600]

The SDK's own sampling schedule, one record per layer and one for the run. ``every second`` is what was sent before.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from relumine._export.aggregator import BYTES_PER_LAYER, BYTES_PER_UNIT
from relumine._export.upload_pace import UploadPace
from relumine._monitor.sampling import SamplingSchedule

TRAININGS = {  # layers, units, optimizer steps per second
    "MLP, 2 layers of 256": (2, 512, 100.0),
    "10 layers of 64": (10, 640, 20.0),
    "ResNet-50": (49, 22_720, 3.0),
    "transformer, 24 layers of 4,096": (24, 98_304, 1.0),
}


def uploads(layers: int, units: int, steps_per_s: float, seconds: int) -> tuple[int, int]:
    """Return the uploads in so many seconds: by the pace, and once a second where something was sampled."""
    pace = UploadPace(0.0)
    schedule = SamplingSchedule(None, max_overhead=1.0)
    paced = 0
    every_second = 0
    records = 0
    nbytes = 0
    for second in range(1, seconds + 1):
        new_steps = _sampled_until(schedule, int(second * steps_per_s))
        records += new_steps * (layers + 1)
        nbytes += new_steps * (units * BYTES_PER_UNIT + layers * BYTES_PER_LAYER)
        every_second += new_steps > 0
        if records and pace.is_due(second, records=records, nbytes=nbytes):
            pace.note_sent(second)
            paced += 1
            records = 0
            nbytes = 0
    return paced, every_second


def _sampled_until(schedule: SamplingSchedule, step: int) -> int:
    """Go on to ``step``; return the steps sampled on the way."""
    sampled = 0
    while schedule.next_step <= step:
        sampled += schedule.is_due(schedule.next_step, spent_s=0.0, elapsed_s=0.0)
    return sampled


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=int, default=3600)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate and print."""
    options = parser().parse_args(arguments)
    print(f"{'uploads per second':<34}{'now':>6}  every second")
    for name, (layers, units, steps_per_s) in TRAININGS.items():
        paced, every_second = uploads(layers, units, steps_per_s, options.seconds)
        print(f"{name:<34}{paced / options.seconds:>6.2f}  {every_second / options.seconds:.2f}")


if __name__ == "__main__":
    main()
