"""Trains the recipes, replays their records through the detector, prints what was said beside what was true.

    python benchmarks/detection/quick_look.py --seeds 10 [--only "sgd raised"] [--keep FILE] [--from FILE]

``--keep`` stores the recorded runs so that ``--from`` can judge them again without training.
"""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import torch
from recipes import RECIPES, Run, train

from relumine_server.detection.findings import Finding
from relumine_server.detection.policy import Policy
from relumine_server.detection.replay import replay


def main() -> None:
    """Print one line per run, then one per recipe."""
    arguments = _arguments()
    torch.set_num_threads(1)
    runs = _recorded(arguments)
    table: dict[str, list[tuple[Run, list[Finding]]]] = {}
    for run in runs:
        _readings, findings = replay(run.layers, run.records, Policy())
        table.setdefault(run.recipe.name, []).append((run, findings))
        if arguments.verbose:
            _print_run(run, findings)
    for name, results in table.items():
        _print_recipe(name, results)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", action="append")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--from", dest="source", type=Path)
    return parser.parse_args()


def _recorded(arguments: argparse.Namespace) -> list[Run]:
    if arguments.source:
        runs: list[Run] = pickle.loads(arguments.source.read_bytes())  # noqa: S301 - written by this very script
        return [run for run in runs if not arguments.only or run.recipe.name in arguments.only]
    wanted = [recipe for recipe in RECIPES if not arguments.only or recipe.name in arguments.only]
    runs = [train(recipe, seed) for recipe in wanted for seed in range(arguments.seeds)]
    if arguments.keep:
        arguments.keep.write_bytes(pickle.dumps(runs))
    return runs


def _print_run(run: Run, findings: list[Finding]) -> None:
    print(f"\n{run.recipe.name} seed {run.seed} (cause {run.recipe.cause}) loss {run.losses[-1]:.3f}")
    for layer_id, points in run.truth.items():
        course = " ".join(f"{100 * share:.0f}" for _, share in points[:: max(len(points) // 24, 1)])
        print(f"   truth {layer_id}: collapse {run.collapse(layer_id)}  [{course}]")
    for f in findings:
        lost = f"{f.evidence['units_silent']}/{f.evidence['units']}"
        forecast = "" if f.forecast is None else f" half near {f.forecast.step} ({f.forecast.low}-{f.forecast.high})"
        told = f"{f.kind} {f.transition} {f.severity} {lost} {f.cause} {f.confidence}"
        print(f"   {f.step:5d} layer {f.layer_id} {told}{forecast}")


def _print_recipe(name: str, results: list[tuple[Run, list[Finding]]]) -> None:
    cause = results[0][0].recipe.cause
    lost = sum(any(run.collapse(layer_id) is not None for layer_id in run.truth) for run, _ in results)
    told = [[f for f in found if f.transition == "raised" and f.severity != "info"] for _, found in results]
    alarmed = sum(bool(found) for found in told)
    right = sum(any(cause in (f.cause, f.kind) for f in found) for found in told)
    first = sum(bool(found) and cause in (found[0].cause, found[0].kind) for found in told)
    episodes = sum(len(found) for found in told)
    print(
        f"{name:26s} {cause or 'healthy':20s} runs {len(results):3d}  collapsed {lost:3d}  alarmed {alarmed:3d}  "
        f"episodes {episodes:3d}  cause right {right:3d} (first {first})"
    )


if __name__ == "__main__":
    main()
