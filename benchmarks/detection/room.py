"""How much room there is for lead: when a part of the layer had truly died, as the share of the way that was left.

    python benchmarks/detection/room.py --half tune|report|second [--from DIR] [--seeds N]

Of onsets alone: whoever alarms the moment 5 % of the units have died leads by the printed share of the time to
collapse. It reads the truth and no detector, so no look is counted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from cases import Case
from corpus import FOLDER, cases
from runs import Run
from truth import lost_shares

PARTS = (0.05, 0.10, 0.25)
"""Of the units, beyond what had died before the fault."""


def room(run: Run, case: Case) -> list[float]:
    """Share of the time to collapse that is left when each of ``PARTS`` has died of the layer that collapses first."""
    layer = min(case.collapses, key=lambda layer_id: case.collapses[layer_id])
    place = sorted(int(info["layer_id"]) for info in run.layers).index(layer)
    shares = np.array(lost_shares(run.truth, place, ~run.truth.dead[0][place]))
    steps = np.array(run.truth.steps)
    before = shares[steps <= case.at].max(initial=0.0)
    later = steps > case.at
    reached = (steps[later & (shares >= before + part)][:1] for part in PARTS)
    return [
        float((case.collapse - step[0]) / max(case.collapse - case.at, 1)) if step.size else 0.0 for step in reached
    ]


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("tune", "report", "second", "drawn"), default="tune")
    parser.add_argument("--from", dest="source", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    parser.add_argument("--seeds", type=int, default=100)
    options = parser.parse_args()
    known = [room(*pair) for pair in cases(options.half, options.source, options.seeds) if pair[1].kind == "onset"]
    quartiles = np.percentile(np.array(known), [25, 50, 75], axis=0).T
    print(f"{options.half} half: {len(known)} onsets; of the time to collapse is left when so many units have died:")
    for part, (low, middle, high) in zip(PARTS, quartiles, strict=True):
        print(f"  {part:4.0%}  {middle:.2f} in the median, quartiles {low:.2f} and {high:.2f}")


if __name__ == "__main__":
    main()
