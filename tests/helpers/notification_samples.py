"""Notifications as a server renders them: alerts, finished runs, and names full of markup."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from relumine.schemas.alert import Alert
from relumine.schemas.run import RunSummary
from relumine_server.webhooks.notification import DisabledWebhook, Notification

CREATED_AT = datetime(2026, 11, 23, 14, 5, 30, tzinfo=UTC)
BASE = "https://relumine.example"
RUN = "0192f0c1-7a2b-7c3d-8e4f-5a6b7c8d9e0f"
RUN_URL = f"{BASE}/#/runs/{RUN}"
HOSTILE = "<!channel> <@U1> @everyone *b* _i_ `c` ~s~ |x| [a](https://evil.example) &amp; # \u202egnirts\x07\n> q \"'"

DETAILS = (
    "61 of 256 units (24%, plus 2% from the start) have been inactive for the last 3,840 examples. Forecast: half dead "
    "by step 5,150, in about 3 min. Likely cause: the learning rate rose from 0.05 to 0.30 at step 4,380. Fix: lower "
    "it to 0.05, its last healthy value."
)
EVIDENCE = {
    "units": 256, "units_silent": 61, "baseline_fraction": 0.02, "n": 3840, "n_unit": "examples",
    "learning_rate": {"now": 0.3, "before": 0.05, "changed_at_step": 4380, "slope": 0.0},
    "bias": {"mean": -0.02, "slope_per_step": -1e-5, "share": 0.1},
    "shift": {"weight": 0.83, "input": 0.15, "bias": 0.02}, "update_to_weight": 0.01, "upstream": [],
    "loss_effect": 0.0,
}  # fmt: skip


def alert(**changes: Any) -> Alert:
    """Return an alert of layer fc2, with changes."""
    layer, kind = changes.get("layer", "fc2"), changes.get("kind", "dying")
    title = changes.pop("title", f"{layer or 'The run:'} is {kind}")
    name = changes.pop("run_name", "baseline")
    severity = changes.get("severity", "critical").upper()
    values = {
        "id": f"{RUN}.2.dying", "incident_id": f"{RUN}.1", "run_id": RUN, "project": "digits",
        "run": {"name": name, "group": "sweep 7", "url": RUN_URL},
        "layer": "fc2", "layer_label": layer, "layer_id": 2, "kind": "dying", "state": "firing", "severity": "critical",
        "cause": "high_learning_rate", "confidence": 0.9, "opened_step": 4410, "dead_step": None, "resolved_step": None,
        "ended_step": None, "ended_at": None, "outcome": None,
        "opened_at": "2026-11-23T14:03:00Z", "updated_at": "2026-11-23T14:03:00Z", "resolved_at": None,
        "resolved_reason": None, "title": title,
        "message": f"{severity} {changes.get('project', 'digits')}/{name} · {title}: {DETAILS}",
        "url": f"{RUN_URL}?alert={RUN}.2.dying", "evidence": EVIDENCE,
        "forecast": {"step": 5150, "low": 4900, "high": 5600, "confidence": 0.8, "eta_s": 180.0},
        "remedies": [{"action": "lower_learning_rate", "function": "lower_learning_rate", "parameter": "lr",
                      "code": "import relumine\nrelumine.remedies.lower_learning_rate(optimizer, 0.05)",
                      "value": 0.05, "reason": "the last learning rate at which the layer was healthy"}],
        "acknowledged": None, "inhibited_by": None, "silenced_by": None,
    }  # fmt: skip
    return Alert.model_validate(values | changes)


def resolved(**changes: Any) -> Alert:
    """Return a resolved alert."""
    end = {"resolved_step": 4990, "resolved_at": "2026-11-23T14:05:00Z", "resolved_reason": "units are active again"}
    return alert(state="resolved", **({"outcome": "recovered"} | end | changes))


def ended(**changes: Any) -> Alert:
    """Return an alert that was open when its run ended."""
    end = {"ended_step": 12_000, "ended_at": "2026-11-23T14:05:00Z", "outcome": "damaged"}
    return alert(state="ended", **(end | changes))


def acknowledged(note: str = "lowering lr", **changes: Any) -> Alert:
    """Return an acknowledged alert."""
    acknowledgement = {"author": "alice <!here>", "note": note, "at": "2026-11-23T14:04:00Z"}
    return alert(state="acknowledged", acknowledged=acknowledgement, **changes)


def many_alerts(count: int, **changes: Any) -> list[Alert]:
    """Return alerts of as many layers; every third is critical, the others are warnings."""
    return [
        alert(
            id=f"{RUN}.{n}.dying", layer_id=n, layer=f"layer{n}", severity="warning" if n % 3 else "critical",
            url=f"{RUN_URL}?alert={RUN}.{n}.dying", **changes,
        )
        for n in range(1, count + 1)
    ]  # fmt: skip


def notification(event: str, *alerts: Alert, total: int | None = None) -> Notification:
    """Return a notification of these alerts."""
    return Notification(event, CREATED_AT, alerts, len(alerts) if total is None else total, RUN_URL)


def summary(**changes: Any) -> RunSummary:
    """Return the summary of a run with two dead layers."""
    values = {
        "run_id": RUN, "project": "digits", "name": "baseline", "group": "sweep 7", "status": "finished",
        "url": RUN_URL, "started_at": "2026-11-23T12:00:00Z", "finished_at": "2026-11-23T14:05:00Z",
        "last_step": 12_000, "layers": 24, "units": 18_432, "dead_layers": ["fc2", "fc3"],
        "health": "damaged", "health_reason": "fc2, fc3 dead",
        "alert_counts": {"info": 0, "warning": 3, "critical": 1},
        "ended_alerts": [ended(kind="dead", dead_step=4700), ended(severity="warning", layer="fc3", layer_id=3)],
    }  # fmt: skip
    return RunSummary.model_validate(values | changes)


def run_finished(**changes: Any) -> Notification:
    """Return the notification of a finished run."""
    return Notification("run.finished", CREATED_AT, [], 0, RUN_URL, summary=summary(**changes))


NO_ALERTS = {"alert_counts": {"info": 0, "warning": 0, "critical": 0}, "ended_alerts": []}
HEALTHY = {"health": "healthy", "health_reason": None, "dead_layers": [], **NO_ALERTS}
CASES = {
    "firing, info": notification("alert.firing", alert(severity="info")),
    "firing, warning": notification("alert.firing", alert(severity="warning")),
    "firing, critical": notification("alert.firing", alert()),
    "firing again": notification("alert.firing", alert(state="regressed", kind="dead")),
    "firing, the run itself": notification(
        "alert.firing", alert(layer=None, layer_id=0, kind="diverged", cause="unknown")
    ),
    "firing, several": notification("alert.firing", *many_alerts(3)),
    "firing, more than are carried": notification("alert.firing", *many_alerts(2), total=10_000),
    "resolved, warning": notification("alert.resolved", resolved(severity="warning")),
    "resolved, critical": notification("alert.resolved", resolved()),
    "resolved, several": notification(
        "alert.resolved", resolved(), resolved(layer="fc3", layer_id=3, id=f"{RUN}.3.dying")
    ),
    "acknowledged, warning": notification("alert.acknowledged", acknowledged(severity="warning")),
    "acknowledged, critical": notification("alert.acknowledged", acknowledged()),
    "names that are markup": notification("alert.firing", alert(layer=HOSTILE, run_name=HOSTILE, project=HOSTILE)),
    "finished, two layers lost": run_finished(),
    "finished, healthy": run_finished(**HEALTHY),
    "failed": run_finished(status="failed", **HEALTHY),
    "finished, not watched": run_finished(
        health="unwatched", health_reason="the model was left in eval mode", dead_layers=[], **NO_ALERTS
    ),
    "finished, diverged": run_finished(
        health="diverged", health_reason="values are not finite", dead_layers=[], **NO_ALERTS
    ),
    "finished, with alerts that an Alertmanager holds open": run_finished()._replace(alerts=[ended()], total=1),
    "expired after the run ended": notification("alert.resolved", ended()),
    "closed by a person": notification("alert.resolved", resolved(outcome="closed", resolved_reason="by Ada")),
    "a test": Notification("webhook.test", CREATED_AT, [], 0, f"{BASE}/#/settings/webhooks"),
    "disabled": Notification(
        "webhook.disabled", CREATED_AT, [], 0, f"{BASE}/#/settings/webhooks",
        webhook=DisabledWebhook("whk_1", "hooks.example", "it answered 410 Gone"),
    ),
}  # fmt: skip
