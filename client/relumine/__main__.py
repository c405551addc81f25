"""The command ``relumine``: a report on a run in the terminal, and the way to the server when it is installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from relumine import __version__, _check_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="relumine", description="Sees dying ReLUs in PyTorch trainings.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser("report", help="the state of a run and its alerts")
    report.add_argument("run", help="the run's id")
    report.add_argument("--url", help="the server (default: RELUMINE_URL)")
    sync = commands.add_parser("sync", help="send what was kept on disk; any number of times")
    sync.add_argument("directory", nargs="?", help="default: RELUMINE_DIR, or .relumine")
    sync.add_argument("--url", help="the server (default: RELUMINE_URL)")
    check = commands.add_parser(
        "check", help="look at a model before it is trained; exits 1 where something is flagged"
    )
    _check_command.add_arguments(check)
    commands.add_parser("serve", help="start the server (needs the extra [server])", add_help=False)
    options, rest = parser.parse_known_args(arguments)
    if options.command == "serve":
        return _serve(rest)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if options.command == "check":
        return _check_command.run(options)
    if options.command == "sync":
        return _sync(options.directory, options.url)
    return _report(options.run, options.url)


def _sync(directory: str | None, url: str | None) -> int:
    from relumine._spool import send_all  # noqa: PLC0415 - httpx is loaded only where it is needed
    from relumine._transport import HttpTransport  # noqa: PLC0415
    from relumine.errors import RelumineError  # noqa: PLC0415
    from relumine.settings import resolve  # noqa: PLC0415

    try:
        settings = resolve(url=url)
    except RelumineError as error:
        print(f"relumine: {error}", file=sys.stderr)
        return 2
    transport = HttpTransport(settings.url, settings.api_key)
    sent, problems = send_all(Path(directory) if directory else settings.directory, transport)
    transport.close()
    for problem in problems:
        print(f"relumine: kept {problem}", file=sys.stderr)
    print(f"{sent} uploads accepted by {settings.url}")
    return 1 if problems else 0


def _report(run_id: str, url: str | None) -> int:
    from relumine.client import Client  # noqa: PLC0415 - httpx is loaded only where it is needed
    from relumine.errors import RelumineError  # noqa: PLC0415

    try:
        with Client(url) as client:
            view = client.overview(run_id)
    except RelumineError as error:
        print(f"relumine: {error}", file=sys.stderr)
        return 1
    print(f"{view.run.project}/{view.run.name or view.run.run_id}  {view.run.state}  step {view.last_step or 0:,}")
    for layer in view.layers:
        dead = (
            ""
            if layer.dead_fraction is None
            else f"{layer.dead_fraction:6.1%} dead  {layer.dying_fraction or 0:6.1%} dying"
        )
        print(f"  {layer.name:<24} {layer.units:>7,} units  {layer.state:<11} {dead}")
    for alert in view.alerts:
        print(f"  [{alert.severity}] {alert.state}: {alert.message}")
    return 0


def _serve(rest: Sequence[str]) -> int:
    try:
        from relumine_server.__main__ import main as serve  # noqa: PLC0415 - an optional extra
    except ImportError:
        print("relumine: the server is not installed: pip install 'relumine[server]'", file=sys.stderr)
        return 2
    serve(["serve", *rest])
    return 0


if __name__ == "__main__":
    sys.exit(main())
