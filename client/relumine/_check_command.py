"""``relumine check module:function``: a look at a model before training, with an exit status for CI."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import relumine

if TYPE_CHECKING:
    from relumine._report import Report

HEALTHY, FLAGGED, UNUSABLE = 0, 1, 2


class _UnusableError(Exception):
    """Why there is nothing to check, in a sentence."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("target", help="package.module:function or path/to/file.py:function, giving (model, inputs)")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write the report as a page too")
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead of text")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def run(options: argparse.Namespace) -> int:
    """Check what the target gives: 0 nothing found, 1 flagged, 2 there was nothing that could be checked."""
    try:
        report = _report(options.target)
        if options.html is not None:
            options.html.write_text(report.as_html(), encoding="utf-8")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's own code runs here: whatever it raises is told
        if options.traceback:
            traceback.print_exc()
        print(f"relumine: {_sentence(error)}", file=sys.stderr)
        return UNUSABLE
    print(json.dumps(report.as_dict(), indent=2) if options.json else report)
    return FLAGGED if report.findings else HEALTHY


def _sentence(error: BaseException) -> str:
    if isinstance(error, _UnusableError):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _report(target: str) -> Report:
    function = _function(target)
    given = function()
    if not isinstance(given, tuple) or len(given) != 2:
        raise _UnusableError(f"{target} must return (model, inputs), and gave a {type(given).__name__}")
    try:
        check = relumine.check  # loads torch
    except ImportError as error:
        raise _UnusableError("check needs torch: pip install torch") from error
    return check(*given)


def _function(target: str) -> Callable[[], Any]:
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise _UnusableError(f"{target} names no function: write package.module:function or path/to/file.py:function")
    module = _from_file(Path(place)) if place.endswith(".py") else _by_name(place)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise _UnusableError(f"{place} has no function {name}")
    function: Callable[[], Any] = found
    return function


def _by_name(name: str) -> Any:
    _first_on_path(Path.cwd())
    return importlib.import_module(name)


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise _UnusableError(f"there is no file {path}")
    _first_on_path(path.resolve().parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise _UnusableError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses and pickles look there
    spec.loader.exec_module(module)
    return module


def _first_on_path(folder: Path) -> None:
    """What the target imports beside itself is found, as with ``python file.py``."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
