"""The start line, the lines about watching, and the closing line of a run. Pure text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from relumine._runtime.text import plural
from relumine.schemas.alert import Alert, Kind
from relumine.schemas.health import Health, counts
from relumine.schemas.incident import past_title
from relumine.schemas.upload import Coverage, FinalStatus
from relumine.schemas.watching import Watching

# Steps without a sampled one at the end of a run, after which nothing reassuring can be said.
MAX_UNSAMPLED_STEPS = 250

# Layers that the closing line lists.
MAX_LISTED = 5

WORST_FIRST: tuple[Kind, ...] = ("diverged", "constant_output", "dead", "born_dead", "dying")

# The share of sampled steps that may be lost before nothing reassuring can be said.
MAX_LOST_SHARE = 0.1


def started(coverage: Coverage, label: str, url: str) -> str:
    """Return the start line: what is observed, of how much, and where the run's page is."""
    if not coverage.watched and coverage.cannot_die:
        return f"none of the {plural(coverage.cannot_die, 'activation')} of {label} can die: nothing to watch"
    if not coverage.watched and coverage.unseen:
        name, reason = next(iter(coverage.unseen.items()))
        return f"no activation of {label} can be observed: {name} ({reason})"
    if not coverage.watched:
        return f"no activation was observed in the first step of {label}: is the model called, in training mode?"
    relus = f"{coverage.watched}/{coverage.watched + len(coverage.unused)} ReLUs"
    if coverage.unused:
        relus += f" (not used: {', '.join(coverage.unused[:3])})"
    if coverage.unseen:
        relus += f" (not observed: {', '.join(list(coverage.unseen)[:3])}; monitor.coverage() says why)"
    return f"{relus}, {coverage.units:,} units, watching {label} at {url}"


def other_rank(rank: int, world_size: int) -> str:
    """Return the line of a process that is not watched, because it trains the model of rank 0."""
    return f"rank {rank} of {world_size} is not watched: rank 0 watches the training of all"


def renamed(label: str, sent_id: str, run_id: str) -> str:
    """Return the line that says under which id the server keeps a run, where the id that was sent is taken."""
    return f"{label}: run id {sent_id} belongs to another project, so the server keeps this run as {run_id}"


def shared(label: str, run_id: str) -> str:
    """Return the line that says that two trainings are taken for one run."""
    return f"{label}: another training uploads under run id {run_id}; give each its own run_id"


def watching_changed(label: str, watching: Watching) -> str:
    """Return the line that says, the moment it is certain, that a training is no longer being watched, or is again."""
    if watching.reason is None:
        return f"{label}: being watched again"
    return f"{_unwatched(label, watching)}; nothing is known about its layers meanwhile"


def unknown_reason(stats: dict[str, Any], mode: str, *, has_ended: bool) -> str | None:
    """Return why nothing can be said about layers without an alert; None where they were analyzed.

    ``stats`` are ``Monitor.sdk_stats``. While the training runs, the latest sampled steps are always on their way.
    """
    if mode == "offline":
        return f"not analyzed yet, {plural(stats['acked_steps'], 'sampled step')} on disk"
    if not stats["acked_records"]:
        return _nothing_accepted(stats)
    return (_unfinished_reason(stats) if has_ended else None) or _lost_reason(stats)


def _unfinished_reason(stats: dict[str, Any]) -> str | None:
    """Return why nothing is known about the end of a run."""
    last_step = stats["last_sampled_step"] or 0
    if stats["steps"] - last_step > MAX_UNSAMPLED_STEPS:
        return f"the last sampled step was step {last_step:,} of {stats['steps']:,}, its layers are unknown since"
    undelivered = stats["pending_steps"] + stats["spooled_steps"]
    if undelivered:
        return f"the last {plural(undelivered, 'sampled step')} did not reach the server, its layers are unknown since"
    return None


def _lost_reason(stats: dict[str, Any]) -> str | None:
    """Return why too much is missing of what was sampled."""
    sampled_steps = stats["sampled_steps"]
    dropped_steps = stats["dropped_steps"]
    not_taken = dropped_steps.get("refused", 0) + dropped_steps.get("too_large", 0)
    if not_taken:
        return f"{not_taken} of {sampled_steps} sampled steps were refused by the server, its layers are unknown there"
    dropped = sum(dropped_steps.values())
    if dropped > MAX_LOST_SHARE * sampled_steps:
        return f"{dropped} of {sampled_steps} sampled steps were dropped, its layers are unknown"
    unanalyzed = stats["unanalyzed_steps"]
    if unanalyzed > MAX_LOST_SHARE * sampled_steps:
        return f"{unanalyzed} of {sampled_steps} sampled steps were not analyzed: another session of the run is ahead"
    return None


def _nothing_accepted(stats: dict[str, Any]) -> str:
    spooled_steps = stats["spooled_steps"]
    if spooled_steps:
        return f"no upload reached the server, {plural(spooled_steps, 'sampled step')} spooled on disk"
    return f"no upload reached the server, nothing is known of its layers ({stats['sampled_steps']} steps sampled)"


class Ending(NamedTuple):
    """The end of a run for its closing line: name, page, final status, health and watching."""

    label: str
    url: str
    final_status: FinalStatus
    health: Health
    watching: Watching


def finished(ending: Ending, alerts: Sequence[Alert], stats: dict[str, Any]) -> str:
    """Return the closing line: the health, the worst layers, or why nothing is known of them, and the run's page."""
    health = ending.health
    worrying = [alert for alert in alerts if counts(alert.kind, alert.severity)]
    if ending.watching.reason is not None:
        worrying = [alert for alert in worrying if alert.kind != "no_data" or alert.layer_id]  # it is said below
    parts = []
    if worrying:
        parts.append(_worst_layers(worrying))
    if ending.watching.reason is not None:
        parts.append(_unwatched("", ending.watching))
    elif health.status == "unknown":
        parts.append(str(health.reason))
    elif not worrying:
        parts.append(f"no dead layers ({stats['sampled_steps']:,} of {stats['steps']:,} steps sampled)")
        minor = [alert for alert in alerts if alert.severity == "info" and alert.holds and alert.layer_id]
        if minor:
            parts.append(f"info: {_worst_layers(minor)}")
    lost_steps = sum(stats["dropped_steps"].values())
    if lost_steps and health.status != "unknown":
        parts.append(f"{plural(lost_steps, 'sampled step')} not delivered")
    text = f"{ending.label} {ending.final_status}: {'; '.join(parts)}."
    return f"{health_word(health)}: {text} {ending.url}"


def health_word(health: Health) -> str:
    """Return the health as a word: ``at risk``."""
    return health.status.replace("_", " ")


def _worst_layers(alerts: Iterable[Alert]) -> str:
    """Return at most five layers with their worst alert: the run's own problems and dead layers first, then dying."""
    worst: dict[int, Alert] = {}
    for alert in sorted(alerts, key=_badness):
        worst.setdefault(alert.layer_id, alert)
    listed = [_summary(alert) for alert in worst.values()]
    if len(listed) > MAX_LISTED:
        return f"{', '.join(listed[:MAX_LISTED])} and {len(listed) - MAX_LISTED} more"
    return ", ".join(listed)


def _badness(alert: Alert) -> tuple[bool, int, int]:
    """Return a sort key that puts the worst problem first, and those that were over before the run ended last."""
    is_over = alert.state == "resolved"
    rank = WORST_FIRST.index(alert.kind) if alert.kind in WORST_FIRST else len(WORST_FIRST)
    return is_over, rank, alert.opened_step


def _unwatched(label: str, watching: Watching) -> str:
    since = "never watched" if watching.last_step is None else f"not watched since step {watching.last_step:,}"
    text = f"{since} ({watching.explanation})"
    return f"{label}: {text}" if label else text


def _summary(alert: Alert) -> str:
    """Return *fc2 is dead (since step 121)*; of a problem that is over *fc2 was dead (step 121, recovered)*."""
    if alert.kind == "no_data" and not alert.layer_id:  # it is listed only where the training is watched again
        return f"the training was not being watched for a time (from step {alert.opened_step:,})"
    if alert.holds:
        return f"{alert.title} (since step {alert.opened_step:,})"
    title = past_title(alert.title) if alert.outcome == "recovered" else alert.title
    return f"{title} (step {alert.opened_step:,}, {alert.outcome or alert.state})"
