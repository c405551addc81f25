"""Draws the figures of ``docs/detection.md`` from kept runs of the tune half, replayed through the detector.

    pip install -e '.[server,dev,bench]'
    python benchmarks/detection/figures.py [--from DIR] [--only NAME] [--to DIR]

The same runs and the same detector give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import commandline
from cases import Case, case_of, lost_shares_of
from catalogue import BY_NAME, twin_of
from curves import draw_reliability, draw_tradeoff
from drawing import AMBER, BLUE, GREEN, INK, QUIET, RED, SHADE, key, mark, panels, save, shares
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rules import sagemaker
from runs import Run, kept
from traces import Trace, spans, traces

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"
SPOKEN = {"info": BLUE, "warning": AMBER, "critical": RED}
Story = Callable[[Run, Run | None], Figure]


def main() -> None:
    """Draw what was asked for."""
    options = commandline.parser(__doc__, tune_only=True)
    options.add_argument("--only", action="append", metavar="NAME", help="figures whose name contains this")
    options.add_argument("--to", type=Path, default=FIGURES, metavar="DIR", help="default: docs/figures")
    arguments = commandline.parsed(options)

    def is_wanted(name: str) -> bool:
        return not arguments.only or any(text in name for text in arguments.only)

    for name, (recipe, story) in STORIES.items():
        if is_wanted(name):
            save(story(*_runs(arguments.source, recipe)), arguments.to / f"{name}.svg")
    counted = {name: draw for name, draw in COUNTED.items() if is_wanted(name)}
    known = commandline.known(arguments) if counted else []
    for name, draw in counted.items():
        save(draw(known), arguments.to / f"{name}.svg")


def _runs(folder: Path, name: str) -> tuple[Run, Run | None]:
    """A kept run with the first seed, and its twin where it has one."""
    recipe = BY_NAME[name]
    twin = twin_of(recipe)
    run, reference = kept(folder, recipe, 0), kept(folder, twin, 0) if twin is not None else None
    if run is None or (twin is not None and reference is None):
        raise SystemExit(f"{name!r} is not in {folder}: train it with corpus.py")
    return run, reference


def high_rate(run: Run, twin: Run | None) -> Figure:
    """Risk and silence of the layer that collapses first, over its learning rate."""
    case, layer_id, trace = _first_to_collapse(run, twin)
    figure, (top, bottom) = panels(f"A learning rate that creeps up: {_layer(run, layer_id)}", heights=(2.3, 1.0))
    _draw_shares(top, run, twin, layer_id, trace)
    bottom.step(trace.column("step"), trace.column("rate"), where="post", color=INK)
    bottom.set_yscale("log")
    bottom.set_ylabel("learning rate")
    _finish(run, case, trace, (top, bottom))
    return figure


def slow_drift(run: Run, twin: Run | None) -> Figure:
    """The same over what the silence comes from: the bias, and the headroom that it eats."""
    case, layer_id, trace = _first_to_collapse(run, twin)
    title = f"Biases that are pushed down slowly: {_layer(run, layer_id)}"
    figure, (top, middle, bottom) = panels(title, heights=(2.2, 1.1, 1.0))
    _draw_shares(top, run, twin, layer_id, trace)
    middle.plot(trace.column("step"), trace.column("headroom"), color=GREEN)
    middle.axhline(0, color=SHADE, linewidth=1, zorder=0)
    middle.set_ylabel("headroom of the\nweakest tenth (σ)")
    bottom.plot(trace.column("step"), trace.column("bias"), color=INK)
    bottom.set_ylabel("mean bias (σ)")
    figure.align_ylabels()
    _finish(run, case, trace, (top, middle, bottom))
    return figure


def born_dead(run: Run, twin: Run | None) -> Figure:
    """Units that were never active, of a layer that nothing ever passes, and of the same layer begun soundly."""
    case, layer_id, trace = _first_to_collapse(run, twin)
    figure, (axes,) = panels(f"Born dead: {_layer(run, layer_id)}", heights=(1.5,))
    _draw_truth(axes, run, twin, layer_id)
    axes.plot(trace.column("step"), trace.column("never_active"), ".-", color=RED, label="never active so far")
    if twin is not None:
        sound = traces(twin)[layer_id]
        label = "the same, begun soundly"
        axes.plot(sound.column("step"), sound.column("never_active"), ".-", color=BLUE, label=label)
    shares(axes)
    key(axes, loc="center right")
    _finish(run, case, trace, (axes,), end=40)
    return figure


def sparse(run: Run, twin: Run | None) -> Figure:
    """A healthy layer that half of its units sit out, and a rule that takes silence for death."""
    found = traces(run)
    layer_id = max(found, key=lambda one: float(found[one].column("rarely_active").mean()))
    trace, end = found[layer_id], run.recipe.steps
    title = f"Healthy and sparse: {_layer(run, layer_id)} under an activation penalty"
    figure, (axes,) = panels(title, heights=(2.5,))
    _draw_truth(axes, run, twin, layer_id)
    axes.plot(trace.column("step"), trace.column("rarely_active"), color=BLUE, label="active on < 1 % of the look")
    axes.plot(trace.column("step"), trace.column("risk"), color=RED, label="risk")
    for place, (start, stop) in enumerate(spans(sagemaker(run.infos(), run.records()), layer_id, end)):
        label = None if place else "SageMaker's rule fires"
        axes.axvspan(start, stop, color=AMBER, alpha=0.25, linewidth=0, label=label)
    axes.axhline(0.5, color=QUIET, linewidth=0.8, linestyle=":")
    shares(axes)
    key(axes, loc="upper left")
    _finish(run, case_of(run, twin), trace, (axes,))
    return figure


def _first_to_collapse(run: Run, twin: Run | None) -> tuple[Case, int, Trace]:
    case = case_of(run, twin)
    layer_id = min(case.collapses, key=lambda one: case.collapses[one])
    return case, layer_id, traces(run)[layer_id]


def _layer(run: Run, layer_id: int) -> str:
    """Its number and size: names of corpus layers say nothing."""
    units = next(info.units for info in run.infos() if info.layer_id == layer_id)
    return f"layer {layer_id} ({units} units)"


def _draw_truth(axes: Axes, run: Run, twin: Run | None, layer_id: int) -> None:
    lost = lost_shares_of(run, twin or run)[layer_id]
    axes.fill_between(run.truth.steps, lost, color=SHADE, linewidth=0, label="truly dead")


def _draw_shares(axes: Axes, run: Run, twin: Run | None, layer_id: int, trace: Trace) -> None:
    steps = trace.column("step")
    _draw_truth(axes, run, twin, layer_id)
    axes.plot(steps, trace.column("dying"), color=BLUE, label="dying units")
    axes.plot(steps, trace.column("risk"), color=RED, label="risk")
    shares(axes, "share of units, risk")
    key(axes, loc="upper left")


def _finish(run: Run, case: Case, trace: Trace, axes: Sequence[Axes], end: int | None = None) -> None:
    """The axis of steps; marks of what was done, of what was told, and of the collapse."""
    axes[-1].set_xlim(0, end or run.truth.steps[-1])
    axes[-1].set_xlabel(f"step   ({run.recipe.name}, seed {run.seed})")
    collapsed = [(case.collapse, "half dead", INK)] if case.collapses and case.collapse else []
    begins = [(case.at, "fault begins", QUIET)] if case.at else []
    mark(axes, [*begins, *_told(trace), *collapsed])


def _told(trace: Trace) -> list[tuple[int, str, str]]:
    """The first time that each severity was told of this layer."""
    first: dict[str, tuple[int, str, str]] = {}
    for found in trace.findings:
        if found.layer_id and found.transition != "resolved" and found.severity in SPOKEN:
            word = "born dead" if found.kind == "born_dead" else found.severity
            first.setdefault(found.severity, (found.step, word, SPOKEN[found.severity]))
    return list(first.values())


STORIES: dict[str, tuple[str, Story]] = {
    "high-rate": ("functional adamw creeps", high_rate),
    "slow-drift": ("mlp wide adam push", slow_drift),
    "born-dead": ("mlp rmsprop tiny", born_dead),
    "sparse": ("mlp sgd penalty", sparse),
}
COUNTED: dict[str, Callable[[Sequence[tuple[Run, Case]]], Figure]] = {
    "trade-off": draw_tradeoff,
    "reliability": draw_reliability,
}

if __name__ == "__main__":
    main()
