"""Draw the figures of ``docs/detection.md`` from stored runs of the tune split, replayed through the detector.

    pip install -e '.[server,dev]'
    python -m research.figures.draw [--from DIR] [--only NAME] [--to DIR]

The same runs and the same detector give the same bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from research import cli
from research.corpus.cases import Case, case_of, lost_shares_by_layer
from research.corpus.catalogue import BY_NAME, twin_of
from research.corpus.run_store import Run, load_run
from research.figures.curves import draw_reliability, draw_tradeoff
from research.figures.style import (
    AMBER,
    BLUE,
    GREEN,
    INK,
    QUIET,
    RED,
    SHADE,
    add_legend,
    mark_steps,
    panels,
    save,
    use_share_axis,
)
from research.figures.traces import Trace, alarm_spans, traces
from research.scoring.published_rules import sagemaker

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"
SEVERITY_COLOURS = {"info": BLUE, "warning": AMBER, "critical": RED}
DrawRun: TypeAlias = Callable[[Run, Run | None], Figure]
"""Draw a run and its twin."""


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = cli.corpus_parser(__doc__, splits=("tune",))
    options.add_argument("--only", action="append", metavar="NAME", help="figures whose name contains this")
    options.add_argument("--to", type=Path, default=FIGURES, metavar="DIR", help="default: docs/figures")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the chosen figures."""
    namespace = cli.parse(parser(), arguments)

    def is_chosen(name: str) -> bool:
        return not namespace.only or any(text in name for text in namespace.only)

    for name, (recipe, draw_run) in RUN_FIGURES.items():
        if is_chosen(name):
            save(draw_run(*_load(namespace.source, recipe)), namespace.to / f"{name}.svg")
    corpus_figures = {name: draw for name, draw in CORPUS_FIGURES.items() if is_chosen(name)}
    if corpus_figures:
        pairs = cli.load_pairs(namespace)
        for name, draw in corpus_figures.items():
            save(draw(pairs), namespace.to / f"{name}.svg")


def _load(folder: Path, name: str) -> tuple[Run, Run | None]:
    """Return the stored run of a recipe with the first seed, and its twin if it has one."""
    recipe = BY_NAME[name]
    twin = twin_of(recipe)
    run = load_run(folder, recipe, 0)
    twin_run = load_run(folder, twin, 0) if twin is not None else None
    if run is None or (twin is not None and twin_run is None):
        raise SystemExit(f"{name!r} is not in {folder}: train it with python -m research.corpus.collect")
    return run, twin_run


def draw_high_rate(run: Run, twin: Run | None) -> Figure:
    """Draw risk and silence of the layer that collapses first, above its learning rate."""
    case, layer_id, trace = _first_to_collapse(run, twin)
    title = f"A learning rate that rises slowly: {_describe_layer(run, layer_id)}"
    figure, (top, bottom) = panels(title, heights=(2.3, 1.0))
    _draw_dying_and_risk(top, run, twin, layer_id, trace)
    bottom.step(trace.column("step"), trace.column("rate"), where="post", color=INK)
    bottom.set_yscale("log")
    bottom.set_ylabel("learning rate")
    _finish(run, case, trace, (top, bottom))
    return figure


def draw_slow_drift(run: Run, twin: Run | None) -> Figure:
    """Draw the same above the origin of the silence: headroom and bias."""
    case, layer_id, trace = _first_to_collapse(run, twin)
    title = f"Biases that are pushed down slowly: {_describe_layer(run, layer_id)}"
    figure, (top, middle, bottom) = panels(title, heights=(2.2, 1.1, 1.0))
    _draw_dying_and_risk(top, run, twin, layer_id, trace)
    middle.plot(trace.column("step"), trace.column("headroom"), color=GREEN)
    middle.axhline(0, color=SHADE, linewidth=1, zorder=0)
    middle.set_ylabel("headroom of the\nweakest tenth (σ)")
    bottom.plot(trace.column("step"), trace.column("bias"), color=INK)
    bottom.set_ylabel("mean bias (σ)")
    figure.align_ylabels()
    _finish(run, case, trace, (top, middle, bottom))
    return figure


def draw_born_dead(run: Run, twin: Run | None) -> Figure:
    """Draw the units that were never active, of a layer that is born dead and of the same layer in the twin."""
    case, layer_id, trace = _first_to_collapse(run, twin)
    figure, (axes,) = panels(f"Born dead: {_describe_layer(run, layer_id)}", heights=(1.5,))
    _draw_truth(axes, run, twin, layer_id)
    axes.plot(trace.column("step"), trace.column("never_active"), ".-", color=RED, label="never active so far")
    if twin is not None:
        twin_trace = traces(twin)[layer_id]
        label = "the same, initialized well"
        axes.plot(twin_trace.column("step"), twin_trace.column("never_active"), ".-", color=BLUE, label=label)
    use_share_axis(axes)
    add_legend(axes, "center right")
    _finish(run, case, trace, (axes,), end=40)
    return figure


def draw_sparse(run: Run, twin: Run | None) -> Figure:
    """Draw a healthy layer of which half of the units are rarely active, and a rule that fires on it."""
    by_layer = traces(run)
    layer_id = max(by_layer, key=lambda layer: float(by_layer[layer].column("rarely_active").mean()))
    trace = by_layer[layer_id]
    title = f"Healthy and sparse: {_describe_layer(run, layer_id)} under an activation penalty"
    figure, (axes,) = panels(title, heights=(2.5,))
    _draw_truth(axes, run, twin, layer_id)
    rarely_active = trace.column("rarely_active")
    axes.plot(trace.column("step"), rarely_active, color=BLUE, label="active on < 1 % of the sampled step")
    axes.plot(trace.column("step"), trace.column("risk"), color=RED, label="risk")
    alarms = sagemaker(run.infos(), run.records())
    for index, (start, end) in enumerate(alarm_spans(alarms, layer_id, run.recipe.steps)):
        label = "SageMaker's rule fires" if index == 0 else None
        axes.axvspan(start, end, color=AMBER, alpha=0.25, linewidth=0, label=label)
    axes.axhline(0.5, color=QUIET, linewidth=0.8, linestyle=":")
    use_share_axis(axes)
    add_legend(axes, "upper left")
    _finish(run, case_of(run, twin), trace, (axes,))
    return figure


def _first_to_collapse(run: Run, twin: Run | None) -> tuple[Case, int, Trace]:
    case = case_of(run, twin)
    layer_id = min(case.collapses, key=lambda layer: case.collapses[layer])
    return case, layer_id, traces(run)[layer_id]


def _describe_layer(run: Run, layer_id: int) -> str:
    """Return number and size of a layer: the names of corpus layers mean nothing to a reader."""
    units = next(info.units for info in run.infos() if info.layer_id == layer_id)
    return f"layer {layer_id} ({units} units)"


def _draw_truth(axes: Axes, run: Run, twin: Run | None, layer_id: int) -> None:
    lost = lost_shares_by_layer(run, twin or run)[layer_id]
    axes.fill_between(run.truth.steps, lost, color=SHADE, linewidth=0, label="truly dead")


def _draw_dying_and_risk(axes: Axes, run: Run, twin: Run | None, layer_id: int, trace: Trace) -> None:
    steps = trace.column("step")
    _draw_truth(axes, run, twin, layer_id)
    axes.plot(steps, trace.column("dying"), color=BLUE, label="dying units")
    axes.plot(steps, trace.column("risk"), color=RED, label="risk")
    use_share_axis(axes, "share of units, risk")
    add_legend(axes, "upper left")


def _finish(run: Run, case: Case, trace: Trace, axes: Sequence[Axes], end: int | None = None) -> None:
    """Label the step axis, and mark the fault, the alerts and the collapse."""
    axes[-1].set_xlim(0, end or run.truth.steps[-1])
    axes[-1].set_xlabel(f"step   ({run.recipe.name}, seed {run.seed})")
    marks: list[tuple[float, str, str]] = []
    if case.fault_step:
        marks.append((case.fault_step, "fault begins", QUIET))
    marks += _first_alerts(trace)
    if case.collapses and case.collapse:
        marks.append((case.collapse, "half dead", INK))
    mark_steps(axes, marks)


def _first_alerts(trace: Trace) -> list[tuple[float, str, str]]:
    """Return step, text and colour of the layer's first alert of each severity."""
    first: dict[str, tuple[float, str, str]] = {}
    for finding in trace.findings:
        if finding.layer_id and finding.transition != "resolved" and finding.severity in SEVERITY_COLOURS:
            text = "born dead" if finding.kind == "born_dead" else finding.severity
            first.setdefault(finding.severity, (finding.step, text, SEVERITY_COLOURS[finding.severity]))
    return list(first.values())


RUN_FIGURES: dict[str, tuple[str, DrawRun]] = {
    "high-rate": ("functional adamw creeps", draw_high_rate),
    "slow-drift": ("mlp wide adam push", draw_slow_drift),
    "born-dead": ("mlp rmsprop tiny", draw_born_dead),
    "sparse": ("mlp sgd penalty", draw_sparse),
}
"""Figures of one run: the name of its recipe, and the function."""

CORPUS_FIGURES: dict[str, Callable[[Sequence[tuple[Run, Case]]], Figure]] = {
    "trade-off": draw_tradeoff,
    "reliability": draw_reliability,
}

if __name__ == "__main__":
    main()
