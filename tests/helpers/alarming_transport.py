"""A transport that responds to every upload with a critical alert."""

from __future__ import annotations

from relumine.schemas.alert import Alert, AlertRun
from relumine.schemas.upload import UploadResponse
from relumine.testing import InMemoryTransport


class AlarmingTransport(InMemoryTransport):
    """Keeps uploads, and responds to each with the same critical alert.

    The alert is created here: an invalid one fails the test, instead of a thread of the SDK while the training waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self._alert = critical()

    def post(self, body: bytes) -> UploadResponse:
        return super().post(body).model_copy(update={"alerts": [self._alert]})


STEPS = 20_000
"""Steps of a training that an alert should stop: half a minute and more, after which it ends by itself."""


def critical() -> Alert:
    fields = dict.fromkeys(Alert.model_fields)
    fields |= {
        "id": "a",
        "incident_id": "r.1",
        "run_id": "r",
        "project": "p",
        "layer": "1",
        "layer_label": "1",
        "layer_id": 1,
        "kind": "dead",
        "state": "firing",
    }
    fields |= {"severity": "critical", "cause": "unknown", "confidence": 1.0, "opened_step": 1, "remedies": []}
    fields |= {"title": "dead", "message": "1 is dead", "url": "", "evidence": {}, "opened_at": "", "updated_at": ""}
    return Alert.model_validate(fields | {"run": AlertRun(name=None, group=None, url="")})
