"""The report of ``check``: numbers, and the findings among them as sentences. It computes nothing from a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from relumine._analysis import report_html
from relumine._analysis.born_dead import ASYMMETRIC_MAX_DEPTH, RISK_LINE_MIN, width_for
from relumine._analysis.hints import Hint
from relumine._analysis.risk import Risk
from relumine._runtime.text import plural
from relumine.schemas.printable import printable

RISK_FINDING_MIN = 0.05  # fraction of nets born dead from which a risk is a finding: one start in twenty
MIN_EXAMPLES_PER_UNIT_VERDICT = 30  # examples to judge single units by: on fewer, a rarely active unit is inactive too
MIN_EXAMPLES_PER_LAYER_VERDICT = 8  # examples to judge a whole layer by: a selective net has no active unit on some
BORN_DEAD_MIN_FRACTION = 0.9  # fraction of inactive units from which a layer is called born dead
MAX_SHOWN = 3  # findings, and lesser risks, in the text; ``findings`` and ``risks`` hold all


@dataclass(frozen=True, slots=True)
class LayerCheck:
    """One activation of the model.

    ``inactive`` counts its units that were active on no example; None for an activation that cannot die. If it is not
    ``finite``, its pre-activation held NaN or infinity, and the count means nothing. ``missing`` is what ``watch`` will
    not be able to record of it.
    """

    name: str
    activation: str
    can_die: bool
    units: int
    inactive: int | None
    examples: int
    split: str
    producer: str | None
    missing: tuple[str, ...]
    finite: bool = True

    @property
    def inactive_fraction(self) -> float:
        """Fraction of its units that were active on no example."""
        if not self.can_die or not self.inactive or not self.units:
            return 0.0
        return self.inactive / self.units

    @property
    def has_too_few_examples(self) -> bool:
        """True for a wholly inactive layer on so few examples that it cannot be called born dead."""
        return self.finite and self.inactive_fraction >= 1 and self.examples < MIN_EXAMPLES_PER_LAYER_VERDICT

    @property
    def is_born_dead(self) -> bool:
        """True for a wholly inactive layer, or a nearly inactive one on more examples."""
        fraction = self.inactive_fraction
        if not self.finite or fraction < BORN_DEAD_MIN_FRACTION:
            return False
        if fraction < 1:
            return self.examples >= MIN_EXAMPLES_PER_UNIT_VERDICT
        return self.examples >= MIN_EXAMPLES_PER_LAYER_VERDICT


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to change before the first step, in one sentence, and the layers concerned."""

    kind: Literal["born_dead_risk", "born_dead_now", "not_finite"]
    layers: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """The result of ``check``: layers in order of use, ReLU modules that were never used, the risk of each chain.

    ``findings`` are what is wrong or likely to be, ``hints`` what could be better; only findings flag a model.
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
        """Number of units that can die."""
        return sum(layer.units for layer in self.layers if layer.can_die)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain numbers, strings, lists and dicts."""
        return {"units": self.units, **asdict(self)}

    def as_html(self) -> str:
        """Return the report as one page without scripts, styles or external resources."""
        return report_html.page(self)

    def _repr_html_(self) -> str:
        """Return the report as a card for notebooks."""
        return report_html.notebook_card(self)

    def __str__(self) -> str:
        lines = [self._headline()]
        lines += [f"! {finding.text}" for finding in self.findings[:MAX_SHOWN]]
        if len(self.findings) > MAX_SHOWN:
            lines.append(f"! and {plural(len(self.findings) - MAX_SHOWN, 'more finding')}")
        lines += [f"? {hint.text}" for hint in self.hints]
        lesser_risks = sorted(filter(_is_lesser_risk, self.risks), key=_risk_order)
        lines += [f"  {_lesser_risk_text(risk)}" for risk in lesser_risks[:MAX_SHOWN]]
        lines += [f"  {_layer_text(layer)}" for layer in self.layers]
        lines += [f"  {name}: never used" for name in self.unused]
        return "\n".join(printable(line) for line in lines)  # names of layers and modules are in them

    def _headline(self) -> str:
        relus = sum(layer.can_die for layer in self.layers)
        others = plural(len(self.layers) - relus, "activation")
        if not relus:
            return f"No ReLU ran in this forward; {others} that cannot die"
        return f"{plural(relus, 'ReLU')} with {plural(self.units, 'unit')}, {others} that cannot die"


def _findings(layers: Sequence[LayerCheck], risks: Sequence[Risk]) -> Iterator[Finding]:
    not_finite = [layer for layer in layers if layer.can_die and not layer.finite]
    if not_finite:
        count = plural(len(not_finite), "layer")
        text = f"Layer {not_finite[0].name} reads NaN or infinity ({count} in all): its units cannot be judged"
        yield Finding("not_finite", tuple(layer.name for layer in not_finite), text)
    yield from _born_dead_findings(layers, risks)
    relus = sum(layer.can_die for layer in layers)
    for risk in sorted(filter(_is_high_risk, risks), key=_risk_order):
        subject = "nets" if len(risk.layers) == relus else "chains of layers"
        yield Finding("born_dead_risk", risk.layers, _high_risk_text(risk, subject))


def _born_dead_findings(layers: Sequence[LayerCheck], risks: Sequence[Risk]) -> Iterator[Finding]:
    """Yield the layers that are born dead; of those after a wholly inactive layer of their chain only that one."""
    born_dead = {layer.name: layer for layer in layers if layer.is_born_dead}
    chain_of: dict[str, tuple[str, ...]] = {}
    for risk in risks:
        chain_of.update(dict.fromkeys(risk.layers, risk.layers))
    reported: set[str] = set()
    for name, layer in born_dead.items():
        if name in reported:
            continue
        downstream: tuple[str, ...] = ()
        if layer.inactive == layer.units:
            chain = chain_of.get(name, (name,))
            downstream = chain[chain.index(name) + 1 :]
        reported.update(downstream)
        inactive_downstream = tuple(other for other in downstream if other in born_dead)
        yield Finding("born_dead_now", (name, *inactive_downstream), _born_dead_text(layer, len(downstream)))


def _born_dead_text(layer: LayerCheck, downstream: int) -> str:
    examples = plural(layer.examples, "example")
    if layer.inactive != layer.units:
        fraction = _percent(layer.inactive_fraction)
        return (
            f"Layer {layer.name}: {layer.inactive} of {layer.units} units ({fraction}) are active on none of {examples}"
        )
    text = f"Layer {layer.name} is born dead: none of its {layer.units} units is active on any of {examples}"
    if downstream:
        text += f", and the input of the {plural(downstream, 'ReLU')} after it is constant"
    return text


def _is_high_risk(risk: Risk) -> bool:
    return risk.fraction is not None and risk.fraction >= RISK_FINDING_MIN


def _is_lesser_risk(risk: Risk) -> bool:
    """Return True for a risk that is worth a line of text, though it is no finding."""
    if risk.fraction is None:
        return risk.upper_bound >= RISK_FINDING_MIN
    return RISK_LINE_MIN <= risk.fraction < RISK_FINDING_MIN


def _risk_order(risk: Risk) -> float:
    """Return a sort key that puts the highest risk first."""
    return -(risk.upper_bound if risk.fraction is None else risk.fraction)


def _high_risk_text(risk: Risk, subject: str) -> str:
    depth = len(risk.layers)
    width = width_for(depth, RISK_FINDING_MIN)
    sample = f"{risk.draws:,} drawn, {risk.initialization}, on {risk.inputs} inputs"
    text = (
        f"{_chain_text(risk)}: {_estimate_text(risk)} of such {subject} are born dead ({sample}). "
        f"Use {width} or more units per layer (at most {_percent(RISK_FINDING_MIN)}), normalization or residual "
        "connections"
    )
    if depth <= ASYMMETRIC_MAX_DEPTH:
        text += "; an asymmetric initialization helps too"
    return text


def _lesser_risk_text(risk: Risk) -> str:
    if risk.fraction is None:
        return f"{_chain_text(risk)}: at most {_percent(risk.upper_bound)} of such nets are born dead; not estimated"
    return f"{_chain_text(risk)}: {_estimate_text(risk)} of such nets are born dead"


def _chain_text(risk: Risk) -> str:
    narrowest = min(risk.widths)
    widest = max(risk.widths)
    widths = f"{widest}" if narrowest == widest else f"{narrowest}–{widest}"
    unit_noun = "unit" if widest == 1 else "units"
    names = risk.layers[0]
    if len(risk.layers) > 1:
        names += f" … {risk.layers[-1]}"
    return f"{plural(len(risk.layers), 'ReLU layer')} of {widths} {unit_noun} ({names})"


def _estimate_text(risk: Risk) -> str:
    return f"{_percent(risk.fraction or 0.0)} (± {100 * (risk.standard_error or 0.0):.1g})"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"


def _layer_text(layer: LayerCheck) -> str:
    if not layer.can_die:
        return f"{layer.name}: {layer.activation}, cannot die"
    producer = layer.producer or "an unknown layer"
    text = f"{layer.name}: {layer.activation} after {producer}, "
    text += f"{layer.inactive} of {layer.units} units inactive on {plural(layer.examples, 'example')}"
    if layer.missing:
        text += f"; not known: {', '.join(layer.missing)}"
    return text
