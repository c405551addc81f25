"""The cache of detector states counts at least the memory that it uses."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from relumine.schemas.upload import Upload
from relumine_server.detection import detector
from relumine_server.detection import state as detection_state
from relumine_server.detection.policy import DEFAULT
from relumine_server.ingest.detector_states import DetectorCheckpoint, DetectorStates, _size_bytes

RUNS = 4
UPLOADS = 2
STEPS = 40  # more than a history holds
ALLOCATED_BY_A_STATE = [
    tracemalloc.Filter(inclusive=True, filename_pattern=pattern)
    for pattern in ("*/relumine_server/detection/*", "*/relumine/schemas/*", "*/pydantic/*", "*/numpy/*", "<string>")
]
"""Not all that is allocated meanwhile: threads of other tests may still be at work in this process."""


def advance(layers, units, seq, state):
    records = [
        {"layer_id": layer, "first_step": step, "step": step, "n_examples": 8, "active": [5 - step % 3] * units}
        for step in range(seq * STEPS, (seq + 1) * STEPS)
        for layer in range(1, layers + 1)
    ]
    described = [{"layer_id": layer, "name": f"layer{layer}", "units": units} for layer in range(1, layers + 1)]
    body = {"run": {"id": "r"}, "session": "s", "seq": seq + 1, "records": records, "layers": described}
    upload = Upload.model_validate(body)
    return detector.advance(detection_state.describe(state, upload.layers), upload.records, DEFAULT)[0]


@pytest.mark.parametrize(("layers", "units"), [(1, 4), (2, 4), (8, 64), (30, 16)])
def test_the_cache_counts_what_its_states_use(layers, units):
    cache = DetectorStates(2**30)
    advance(layers, units, 1, advance(layers, units, 0, detection_state.empty()))  # fills caches of other modules
    gc.collect()
    tracemalloc.start()
    for run in range(RUNS):
        state = detection_state.empty()
        for seq in range(UPLOADS):
            state = advance(layers, units, seq, state)
        cache.put(f"r{run}", ("s", UPLOADS, None), DetectorCheckpoint(state, 0))
    counted = RUNS * _size_bytes(state)
    del state
    gc.collect()
    snapshot = tracemalloc.take_snapshot().filter_traces(ALLOCATED_BY_A_STATE)
    tracemalloc.stop()
    used = sum(trace.size for trace in snapshot.traces)
    assert 0.2 * counted < used <= counted
