"""``relumine check``: checks a model before it is trained."""

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
from relumine._cli.output import print_error

if TYPE_CHECKING:
    from relumine._analysis.report import Report

# Exit statuses.
HEALTHY = 0
FLAGGED = 1
NOT_CHECKED = 2


class _NotCheckedError(Exception):
    """The target cannot be checked; the message is the reason, in a sentence."""


def run_check(options: argparse.Namespace) -> int:
    """Check the model that the target returns; return the exit status."""
    try:
        report = _check(options.target)
        if options.html is not None:
            Path(options.html).write_text(report.as_html(), encoding="utf-8")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's own code runs here, and may raise anything
        if options.traceback:
            traceback.print_exc()
        print_error(_in_one_line(error))
        return NOT_CHECKED
    print(json.dumps(report.as_dict(), indent=2) if options.json else report)
    return FLAGGED if report.findings else HEALTHY


def _in_one_line(error: BaseException) -> str:
    if isinstance(error, _NotCheckedError):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _check(target: str) -> Report:
    function = _load_function(target)
    result = function()
    if not isinstance(result, tuple) or len(result) != 2:
        raise _NotCheckedError(f"{target} must return (model, inputs), and returned a {type(result).__name__}")
    try:
        check = relumine.check  # loads torch
    except ImportError as error:
        raise _NotCheckedError("check needs torch: pip install torch") from error
    model, inputs = result
    return check(model, inputs)


def _load_function(target: str) -> Callable[[], Any]:
    source, colon, name = target.rpartition(":")
    if not colon or not source or not name:
        raise _NotCheckedError(f"{target} names no function: write package.module:function or path/to/file.py:function")
    member: Any = _load_file(Path(source)) if source.endswith(".py") else _import_module(source)
    for part in name.split("."):
        member = getattr(member, part, None)
    if not callable(member):
        raise _NotCheckedError(f"{source} has no function {name}")
    function: Callable[[], Any] = member
    return function


def _import_module(name: str) -> Any:
    _put_first_on_path(Path.cwd())
    return importlib.import_module(name)


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise _NotCheckedError(f"there is no file {path}")
    _put_first_on_path(path.resolve().parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise _NotCheckedError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses and pickle look it up there
    spec.loader.exec_module(module)
    return module


def _put_first_on_path(folder: Path) -> None:
    """Let the target import its neighbours, as with ``python file.py``."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
