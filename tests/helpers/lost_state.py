"""A run in which a layer dies, and the loss of its saved detector state."""

from __future__ import annotations

import numpy as np
from sqlalchemy import select, update

from relumine_server.db import tables

UNITS = 24
N = 64

DAMAGES = {
    "another version": lambda raw: b"RLD0" + raw[4:],
    "nothing": lambda _raw: b"",
    "the first bytes": lambda raw: raw[:9],
    "without a header": lambda raw: raw[:12],
    "half": lambda raw: raw[: len(raw) // 2],
    "one byte less": lambda raw: raw[:-1],
    "more bytes": lambda raw: raw + b"\0" * 4,
    "another header": lambda raw: raw.replace(b'"layers":', b'"lagers":'),
    "an invalid header": lambda raw: raw.replace(b'"trails":[', b'"trails":{'),
    "no UTF-8": lambda raw: raw[:12] + b"\xff" * (len(raw) - 12),
}


def sampled_steps(first, last, silent=range(0)):
    """Records of a layer at sampled steps ``first`` to ``last``; the ``silent`` units are never active."""
    for number in range(first, last):
        active = np.random.default_rng(number).binomial(N, 0.3, UNITS)
        active[list(silent)] = 0
        step = 10 * number + 1
        norms = {"n_examples": N, "weight_norm": 1 + number / 100}
        yield {"layer_id": 0, "first_step": step, "step": step, "n_examples": N, "learning_rates": [0.1], "loss": 1.0}
        yield {"layer_id": 1, "first_step": step, "step": step, "n_positions": N, "active": active.tolist(), **norms}


HEALTHY = list(sampled_steps(0, 22))
DYING = list(sampled_steps(22, 40, silent=range(18)))


def bodies(run, records, *, first_seq=1, final_status=None, steps=2):
    """Uploads of so many sampled steps each; ``final_status`` is that of the last one."""
    parts = [records[start : start + 2 * steps] for start in range(0, len(records), 2 * steps)]
    for seq, part in enumerate(parts, start=first_seq):
        layers = [{"layer_id": 1, "name": "act1", "units": UNITS}] if seq == 1 else []
        body = {"run": {"id": run, "project": "p"}, "session": "s1", "seq": seq, "layers": layers, "records": part}
        if part is parts[-1]:
            body["final_status"] = final_status
        yield body


def send(call, run, records, **options):
    for body in bodies(run, records, **options):
        answer = call("POST", "/v1/uploads", json=body)
        assert (answer.status_code, answer.json()["duplicate"]) == (202, False)


def saved_state(database, run):
    with database.read() as connection:
        return connection.scalar(select(tables.detector_states.c.state).where(tables.detector_states.c.run_id == run))


def damage_state(database, run, how="another version"):
    damaged = DAMAGES[how](saved_state(database, run))
    statement = update(tables.detector_states).where(tables.detector_states.c.run_id == run)
    assert database.write(lambda c: c.execute(statement.values(state=damaged)).rowcount) == 1


def rebuild_lines(lines):
    return [line for line in lines if "detector state lost" in line["event"]]
