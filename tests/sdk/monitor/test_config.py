"""``watch`` takes whatever describes a training, and never refuses to start one because of it."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import json
import math
import pathlib
import types
import uuid
from collections import OrderedDict, deque, namedtuple
from collections.abc import Mapping

import numpy as np
import pydantic
import pytest
import torch
from torch import nn

import relumine
from relumine._runtime.json_config import MAX_CHARACTERS, to_json_config
from relumine.errors import SettingsError
from relumine.schemas.upload import RunInfo


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 3


class Kind(enum.StrEnum):
    SGD = "sgd"


@dataclasses.dataclass
class Inner:
    lr: float = 0.1
    path: pathlib.Path = pathlib.Path("/data")


@dataclasses.dataclass
class Outer:
    inner: Inner = dataclasses.field(default_factory=Inner)
    betas: tuple[float, ...] = (0.9, 0.999)


class Model(pydantic.BaseModel):
    depth: int = 3
    inner: dict[str, float] = {"a": 0.5}


class Slots:
    __slots__ = ("missing", "width")

    def __init__(self):
        self.width = 4


class Broken(Mapping):
    """Like OmegaConf: reading a missing value raises."""

    def __getitem__(self, key):
        if key == "missing":
            raise ValueError("missing mandatory value")
        return {"lr": 0.1}[key]

    def __iter__(self):
        return iter(["lr", "missing"])

    def __len__(self):
        return 2


class Silent:
    def __repr__(self):
        raise RuntimeError("no text")

    __str__ = __repr__


class Plain:
    pass


class Described:
    def __repr__(self):
        return "Described(3)"


def cyclic():
    value = {"lr": 0.1}
    value["self"] = value
    return value


def deep(levels):
    value = {}
    for _ in range(levels):
        value = {"down": value}
    return value


Point = namedtuple("Point", "x y")  # noqa: PYI024 - as scripts write it

EXACT = [
    ({"a": 1, "b": [1.5, None, True, "x"]}, {"a": 1, "b": [1.5, None, True, "x"]}),
    (argparse.Namespace(lr=0.1, out=pathlib.Path("runs/x")), {"lr": 0.1, "out": "runs/x"}),
    (types.SimpleNamespace(n=1), {"n": 1}),
    (Outer(), {"inner": {"lr": 0.1, "path": "/data"}, "betas": [0.9, 0.999]}),
    (Model(), {"depth": 3, "inner": {"a": 0.5}}),
    (OrderedDict(a=deque([1, 2])), {"a": [1, 2]}),
    (
        {"n": np.int64(3), "x": np.float32(0.5), "b": np.bool_(1), "s": np.str_("t")},
        {"n": 3, "x": 0.5, "b": True, "s": "t"},
    ),
    ({"a": np.arange(3), "b": np.eye(2)}, {"a": [0, 1, 2], "b": [[1.0, 0.0], [0.0, 1.0]]}),
    ({"t": torch.tensor([1.0, 2.0], requires_grad=True), "z": torch.tensor(3)}, {"t": [1.0, 2.0], "z": 3}),
    (
        {"d": torch.float16, "v": torch.device("cpu"), "s": torch.Size([2, 3])},
        {"d": "torch.float16", "v": "cpu", "s": [2, 3]},
    ),
    (
        {"n": np.dtype("int8"), "e": Color.RED, "l": Level.HIGH, "k": Kind.SGD},
        {"n": "int8", "e": "RED", "l": 3, "k": "sgd"},
    ),
    ({"s": {3, 1, 2}, "f": frozenset("a")}, {"s": [1, 2, 3], "f": ["a"]}),
    ({"d": dt.date(2026, 1, 2), "t": dt.timedelta(hours=1)}, {"d": "2026-01-02", "t": "1:00:00"}),
    (
        {"u": uuid.UUID(int=0), "c": 1 + 2j, "r": range(3)},
        {"u": str(uuid.UUID(int=0)), "c": "(1+2j)", "r": "range(0, 3)"},
    ),
    ({"d": decimal.Decimal("0.5"), "f": fractions.Fraction(1, 4)}, {"d": 0.5, "f": 0.25}),
    ({"c": nn.ReLU, "f": math.sqrt}, {"c": "torch.nn.modules.activation.ReLU", "f": "math.sqrt"}),
    ({"f": functools.partial(torch.optim.SGD, lr=1)}, {"f": "partial(torch.optim.sgd.SGD)"}),
    ({"f": json.dumps}, {"f": "json.dumps"}),
    ({"m": nn.Linear(2, 2)}, {"m": "torch.nn.modules.linear.Linear"}),
    ({1: "a", Color.RED: "b", (2, 3): "c"}, {"1": "a", "RED": "b", "(2, 3)": "c"}),
    ({1: "a", "1": "b"}, {"1": "a", "1'": "b"}),
    (Point(1, 2), {"x": 1, "y": 2}),
    (Slots(), {"width": 4}),
    ([1, 2], {"config": [1, 2]}),
    ("words", {"config": "words"}),
    ({"b": b"\xff1"}, {"b": "\\xff1"}),
    ({"a\x00b\ud800": "x\x00\ud800\n\ty"}, {"a\\x00b\\ud800": "x\\x00\\ud800\n\ty"}),
    (None, {}),
]

CHANGED = [
    ({"x": math.inf, "y": [math.nan]}, {"x": "inf", "y": ["nan"]}, ["x: inf is", "y[0]: nan is"]),
    ({"n": 2**60}, {"n": str(2**60)}, ["n: larger than"]),
    ({"n": 10**5000}, {"n": "an integer of 16610 bits"}, ["n: larger than"]),
    (cyclic(), {"lr": 0.1, "self": "…"}, ["self: contains itself"]),
    (Broken(), {"lr": 0.1, "missing": None}, ["missing: cannot be read (ValueError)"]),
    ({"s": Silent(), "lr": 1}, {"s": "Silent", "lr": 1}, ["s: cannot be read (RuntimeError)"]),
    ({"d": Described()}, {"d": "Described(3)"}, ["d: sent as text (Described)"]),
    ({"p": Plain()}, {"p": "tests.sdk.monitor.test_config.Plain"}, ["p: sent as text (Plain)"]),
    ({"a": np.zeros((100, 100))}, {"a": "ndarray of shape (100, 100), float64"}, ["a: only its shape"]),
    ({"t": torch.zeros(3, device="meta")}, {"t": "Tensor"}, ["t: cannot be read"]),
]


@pytest.mark.parametrize(("config", "expected"), EXACT)
def test_a_value_that_json_can_say_is_sent_without_a_note(config, expected):
    assert to_json_config(config) == (expected, [])


@pytest.mark.parametrize(("config", "expected", "notes"), CHANGED)
def test_what_is_changed_is_noted_by_its_path(config, expected, notes):
    value, found = to_json_config(config)
    assert value == expected
    assert [note[: len(start)] for note, start in zip(found, notes, strict=True)] == notes


@pytest.mark.parametrize(
    "config",
    [
        deep(100),
        {str(i): i for i in range(100_000)},
        {"text": "x" * 10**6},
        {str(i): "y" * 3_000 for i in range(1_000)},
        [list(range(1000)) for _ in range(100)],
        {"k" * 10_000: 1},
        {"text": "\x00" * 5_000},
        nn.Linear(2, 2),
        torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1),
        (i for i in range(3)),
        types,
        Silent(),
        argparse.Namespace(nested=argparse.Namespace(deep=deep(30))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_configuration_of_any_size_and_depth_is_cut_to_what_a_server_stores(config):
    value, _ = to_json_config(config)
    info = RunInfo(id="r", config=value)
    text = json.dumps(value, allow_nan=False)
    assert RunInfo.model_validate_json(info.model_dump_json()).config == value
    assert len(text) < 2 * MAX_CHARACTERS


def test_a_training_starts_whatever_describes_it_and_one_line_names_what_was_changed(memory, capsys):
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    labels = {
        "project": "p\x00q",
        "name": "n" * 500,
        "group": 7,
        "tags": ["a", None, 3, "", "t" * 300, *map(str, range(200))],
        "config": argparse.Namespace(out=pathlib.Path("x"), limit=math.inf, act=torch.relu, loop=cyclic()),
    }
    with relumine.watch(model, optimizer, every=1, **labels):
        model(torch.randn(4, 2)).sum().backward()
        optimizer.step()
    run = memory.uploads[0].run
    assert (run.project, run.group, len(run.name), len(run.tags)) == ("p\\x00q", "7", 200, 100)
    assert run.config["limit"] == "inf"
    output = capsys.readouterr().err
    assert output.count("changed so that it can be sent") == 2
    assert "limit: inf is no JSON number" in output


@pytest.mark.parametrize("tags", [None, "word", 5, iter(["a"]), {"a": 1}, map(len, [1])])
def test_tags_of_any_kind_are_taken(tags, memory):
    model = nn.Linear(2, 2)
    relumine.watch(model, tags=tags, project=None, name="").close()


@pytest.mark.parametrize("setting", [{"url": "nowhere"}, {"api_key": "a b\n"}, {"mode": "x"}, {"run_id": "a b"}])
def test_a_setting_that_cannot_be_used_is_still_an_error(setting):
    with pytest.raises(SettingsError):
        relumine.watch(nn.Linear(2, 2), **setting)


@pytest.mark.parametrize(("run_id", "sent"), [(4711, "4711"), (0, "0"), (np.int64(12), "12")])
def test_the_number_of_a_job_is_a_run_id(run_id, sent, memory):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, run_id=run_id, strict=True):
        model(torch.randn(4, 6)).sum().backward()
        optimizer.step()
    assert {upload.run.id for upload in memory.uploads} == {sent}
