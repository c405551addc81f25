"""What ``check`` reports: numbers, and the findings among them in plain sentences. Computes nothing of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from relumine import _report_html
from relumine._birth import width_for
from relumine._hints import Hint
from relumine._risk import Risk

RISKY = 0.05  # share of such nets from which it is said: one start in twenty
SMALL = 0.01  # share from which the text has a line for it, though it is no finding
SHALLOW = 20  # layers up to which asymmetric weights keep the signal: deeper they make the output constant
ENOUGH = 30  # examples from which silence of single units counts: on fewer, units that are only rare are silent too
WHOLE = 8  # examples from which the silence of a whole layer does: selective nets fire no unit for some
MOSTLY = 0.9  # share of silent units from which a layer is called born dead
SHOWN = 3  # findings, and lesser risks, in the text; all are in ``findings`` and ``risks``


@dataclass(frozen=True, slots=True)
class LayerCheck:
    """One activation. ``silent`` is how many of its units were active on no example; None where none can die.

    Where not ``finite``, NaN or infinity reached it, and silence says nothing.
    """

    name: str
    activation: str
    can_die: bool
    units: int
    silent: int | None
    examples: int
    split: str
    producer: str | None
    missing: tuple[str, ...]
    finite: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to change before the first step, in one sentence, and the layers that it is about."""

    kind: Literal["born_dead_risk", "born_dead_now", "not_finite"]
    layers: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """What ``check`` found: layers in order of use, ReLU modules that were never used, the risk of each chain.

    ``findings`` are what is wrong or likely to be, ``hints`` what could be better; only the former flag a model.
    """

    layers: tuple[LayerCheck, ...]
    unused: tuple[str, ...]
    risks: tuple[Risk, ...] = ()
    hints: tuple[Hint, ...] = ()
    findings: tuple[Finding, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "findings", tuple(_findings(self.layers, self.risks)))

    @property
    def units(self) -> int:
        """Units that can die."""
        return sum(layer.units for layer in self.layers if layer.can_die)

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain numbers, strings, lists and dicts."""
        return {"units": self.units, **asdict(self)}

    def as_html(self) -> str:
        """All of it as one page that loads nothing and runs nothing."""
        return _report_html.page(self)

    def __str__(self) -> str:
        can_die = [layer for layer in self.layers if layer.can_die]
        others = len(self.layers) - len(can_die)
        lines = [f"{len(can_die)} ReLUs with {self.units:,} units, {others} that cannot die"]
        if not can_die:
            lines = [f"No ReLU acts in this forward; {others} activations that cannot die"]
        lines += [f"! {finding.text}" for finding in self.findings[:SHOWN]]
        if len(self.findings) > SHOWN:
            lines.append(f"! and {len(self.findings) - SHOWN} more findings")
        lines += [f"? {hint.text}" for hint in self.hints]
        lines += [f"  {_small(risk)}" for risk in sorted(filter(_is_small, self.risks), key=_worst)[:SHOWN]]
        lines += [_line(layer) for layer in self.layers]
        lines += [f"  {name}: never used" for name in self.unused]
        return "\n".join(lines)


def _findings(layers: Sequence[LayerCheck], risks: Sequence[Risk]) -> Iterator[Finding]:
    wrong = [layer for layer in layers if layer.can_die and not layer.finite]
    if wrong:
        text = (
            f"Layer {wrong[0].name} reads NaN or infinity ({len(wrong)} layers do): whether units fire cannot be said"
        )
        yield Finding("not_finite", tuple(layer.name for layer in wrong), text)
    yield from _born_dead(layers, risks)
    whole = sum(layer.can_die for layer in layers)
    for risk in sorted(filter(_is_high, risks), key=_worst):
        nets = "nets" if len(risk.layers) == whole else "chains of layers"
        yield Finding("born_dead_risk", risk.layers, _warning(risk, nets))


def _born_dead(layers: Sequence[LayerCheck], risks: Sequence[Risk]) -> Iterator[Finding]:
    """Layers that are silent now; of those that follow a silent layer of their chain only the first is to blame."""
    silent = {layer.name: layer for layer in layers if layer.finite and _is_lost(layer)}
    chains = {name: risk.layers for risk in risks for name in risk.layers}
    told: set[str] = set()
    for name, layer in silent.items():
        if name in told:
            continue
        chain = chains.get(name, (name,))
        whole = layer.silent == layer.units
        after = chain[chain.index(name) + 1 :] if whole else ()
        later = tuple(other for other in after if other in silent)
        told.update(after)
        yield Finding("born_dead_now", (name, *later), _silence(layer, len(after)))


def _is_lost(layer: LayerCheck) -> bool:
    """Whether it is born dead as far as can be seen: wholly silent, or nearly so on enough examples."""
    share = _silent_share(layer)
    return layer.examples >= (WHOLE if share >= 1 else ENOUGH) and share >= MOSTLY


def is_too_few(layer: LayerCheck) -> bool:
    """Whether a layer is wholly silent, on so few examples that nothing follows."""
    return layer.finite and _silent_share(layer) >= 1 and layer.examples < WHOLE


def _silent_share(layer: LayerCheck) -> float:
    return layer.silent / layer.units if layer.can_die and layer.silent and layer.units else 0.0


def _silence(layer: LayerCheck, after: int) -> str:
    examples = f"{layer.examples:,} example{'s' if layer.examples > 1 else ''}"
    if layer.silent != layer.units:
        share = _percent(_silent_share(layer))
        return f"Layer {layer.name}: {layer.silent} of {layer.units} units ({share}) fire on none of {examples}"
    end = f", and what the {after} ReLUs after it see is constant" if after else ""
    return f"Layer {layer.name} is born dead: none of its {layer.units} units fires on any of {examples}{end}"


def _is_high(risk: Risk) -> bool:
    return risk.share is not None and risk.share >= RISKY


def _warning(risk: Risk, nets: str) -> str:
    depth = len(risk.layers)
    asymmetric = "; an asymmetric initialization helps too" if depth <= SHALLOW else ""
    drawn = f"{risk.draws:,} drawn, {risk.initialization}, on {risk.inputs} inputs"
    return (
        f"{_shape(risk)}: {_estimated(risk)} of such {nets} are born dead ({drawn}). "
        f"Use {width_for(depth, RISKY)} or more units a layer (at most {_percent(RISKY)}), normalisation or residual "
        f"sums{asymmetric}"
    )


def _worst(risk: Risk) -> float:
    return -(risk.upper_bound if risk.share is None else risk.share)


def _small(risk: Risk) -> str:
    if risk.share is None:
        return f"{_shape(risk)}: at most {_percent(risk.upper_bound)} of such are born dead; not estimated"
    return f"{_shape(risk)}: {_estimated(risk)} of such are born dead"


def _is_small(risk: Risk) -> bool:
    """Worth a line, though it is no finding."""
    return not _is_high(risk) and (risk.upper_bound >= RISKY if risk.share is None else risk.share >= SMALL)


def _shape(risk: Risk) -> str:
    low, high, depth = min(risk.widths), max(risk.widths), len(risk.layers)
    widths = f"{low}" if low == high else f"{low}–{high}"
    where = risk.layers[0] if depth == 1 else f"{risk.layers[0]} … {risk.layers[-1]}"
    return f"{depth} ReLU layer{'s' * (depth > 1)} of {widths} unit{'s' * (high > 1)} ({where})"


def _estimated(risk: Risk) -> str:
    return f"{_percent(risk.share or 0.0)} (± {100 * (risk.standard_error or 0.0):.1g})"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _line(layer: LayerCheck) -> str:
    if not layer.can_die:
        return f"  {layer.name}: {layer.activation}, cannot die"
    seen = f"{layer.silent} of {layer.units} units silent on {layer.examples} examples"
    missing = f"; not known: {', '.join(layer.missing)}" if layer.missing else ""
    return f"  {layer.name}: {layer.activation} after {layer.producer or 'an unknown layer'}, {seen}{missing}"
