"""The command ``relumine``: ``report``, ``sync``, ``check``, and ``serve`` where the server is installed."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import relumine
from relumine import __version__
from relumine.schemas.printable import printable

if TYPE_CHECKING:
    from relumine._analysis.report import Report

# Exit statuses of ``relumine check``.
HEALTHY = 0
FLAGGED = 1
NOT_CHECKED = 2


class _NotCheckedError(Exception):
    """The target cannot be checked; the message is the reason, in a sentence."""


def _add_check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", help="package.module:function or path/to/file.py:function, giving (model, inputs)")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write the report as a page too")
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead of text")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def _run_check(options: argparse.Namespace) -> int:
    """Check the model that the target returns; return the exit status."""
    try:
        report = _check(options.target)
        if options.html is not None:
            options.html.write_text(report.as_html(), encoding="utf-8")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's own code runs here, and may raise anything
        if options.traceback:
            traceback.print_exc()
        _print_error(_in_one_line(error))
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="relumine", description="Detects dying ReLUs in PyTorch trainings.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser("report", help="print the state of a run and its alerts")
    report.add_argument("run", help="the run's id")
    report.add_argument("--url", help="the server (default: RELUMINE_URL)")
    sync = commands.add_parser("sync", help="send spooled uploads; safe to repeat")
    sync.add_argument("directory", nargs="?", help="default: RELUMINE_DIR, or .relumine")
    sync.add_argument("--url", help="the server (default: RELUMINE_URL)")
    check = commands.add_parser("check", help="check a model before it is trained; exits 1 if something is flagged")
    _add_check_arguments(check)
    commands.add_parser("serve", help="start the server (needs the extra [server])", add_help=False)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if options.command == "serve":
        return _start_server(rest)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if options.command == "check":
        return _run_check(options)
    if options.command == "sync":
        return _sync_spool(options.directory, options.url)
    return _report_run(options.run, options.url)


def _sync_spool(directory: str | None, url: str | None) -> int:
    from relumine._export.private_files import check_folder  # noqa: PLC0415 - loaded only where it is needed
    from relumine._export.sync import send_spooled  # noqa: PLC0415
    from relumine._export.transport import HttpTransport  # noqa: PLC0415
    from relumine._runtime.settings import resolve_settings  # noqa: PLC0415
    from relumine.errors import RelumineError  # noqa: PLC0415

    try:
        settings = resolve_settings(url=url)
        folder = Path(directory) if directory else settings.directory
        if not directory and folder.exists():
            check_folder(folder)
    except (RelumineError, OSError) as error:
        _print_error(error)
        return 2
    transport = HttpTransport(settings, is_replayed=True)
    result = send_spooled(folder, transport)
    transport.close()
    for note in result.notes:
        _print_error(note)
    for problem in result.problems:
        _print_error(f"not sent: {problem}")
    _print(f"{result.accepted} uploads accepted by {settings.url}")
    return 1 if result.problems else 0


def _print(line: object) -> None:
    """Print a line with text of others: it must not steer the terminal."""
    print(printable(line))


def _print_error(sentence: object) -> None:
    print(f"relumine: {printable(sentence)}", file=sys.stderr)


def _report_run(run_id: str, url: str | None) -> int:
    from relumine.client import Client  # noqa: PLC0415 - httpx is loaded only where it is needed
    from relumine.errors import RelumineError  # noqa: PLC0415

    try:
        with Client(url) as client:
            view = client.overview(run_id)
    except RelumineError as error:
        _print_error(error)
        return 1
    _print(f"{view.run.project}/{view.run.name or view.run.run_id}  {view.run.status}  step {view.last_step or 0:,}")
    for layer in view.layers:
        fractions = ""
        if layer.dead_fraction is not None:
            fractions = f"{layer.dead_fraction:6.1%} dead  {layer.dying_fraction or 0:6.1%} dying"
        _print(f"  {printable(layer.name):<24} {layer.units:>7,} units  {layer.state:<11} {fractions}")
    for alert in view.alerts:
        _print(f"  [{alert.severity}] {alert.state}: {alert.message}")
    return 0


def _start_server(rest: Sequence[str]) -> int:
    try:
        from relumine_server.cli.main import main as serve  # noqa: PLC0415 - an optional extra
    except ImportError:
        print("relumine: the server is not installed: pip install 'relumine[server]'", file=sys.stderr)
        return 2
    serve(["serve", *rest])
    return 0
