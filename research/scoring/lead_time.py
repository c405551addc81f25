"""The possible lead: the part of the time to collapse that was left when a part of the layer had died.

    python -m research.scoring.lead_time --split tune|heldout_1|heldout_2 [--from DIR] [--seeds N]

On onsets only: an alarm at the moment when 5 % of the units have died leads by the printed share of the time to
collapse. It reads the ground truth and no detector, so no access to a held-out set is logged.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from research.corpus.cases import Case
from research.corpus.catalogue import SPLITS
from research.corpus.collect import FOLDER, load_cases
from research.corpus.ground_truth import lost_shares
from research.corpus.run_store import Run

PARTS = (0.05, 0.10, 0.25)
"""Shares of the units, beyond those that had died before the fault."""


def possible_leads(run: Run, case: Case) -> list[float]:
    """Return the share of the time to collapse that is left when each of ``PARTS`` of the layer has died."""
    layer_id = min(case.collapses, key=lambda layer: case.collapses[layer])
    layer = sorted(int(info["layer_id"]) for info in run.layers).index(layer_id)
    shares = np.array(lost_shares(run.truth, layer, ~run.truth.dead[0][layer]))
    steps = np.array(run.truth.steps)
    initial_share = shares[steps <= case.fault_step].max(initial=0.0)
    leads = []
    for part in PARTS:
        reached = steps[(steps > case.fault_step) & (shares >= initial_share + part)]
        lead = 0.0
        if reached.size:
            lead = float((case.collapse - reached[0]) / max(case.collapse - case.fault_step, 1))
        leads.append(lead)
    return leads


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--split", choices=SPLITS, default="tune")
    options.add_argument("--from", dest="source", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    options.add_argument("--seeds", type=int, default=100, help="use at most so many seeds of the stored runs")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the medians."""
    options = parser().parse_args(arguments)
    pairs = load_cases(options.split, options.source, options.seeds)
    leads = [possible_leads(run, case) for run, case in pairs if case.kind == "onset"]
    if not leads:
        raise SystemExit(f"no onsets of the split {options.split} in {options.source}")
    quartiles = np.percentile(np.array(leads), [25, 50, 75], axis=0).T
    print(
        f"split {options.split}: {len(leads)} onsets; share of the time to collapse left when so many units have died:"
    )
    for part, (low, middle, high) in zip(PARTS, quartiles, strict=True):
        print(f"  {part:4.0%}  {middle:.2f} in the median, quartiles {low:.2f} and {high:.2f}")


if __name__ == "__main__":
    main()
