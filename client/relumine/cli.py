"""The command ``relumine``. Each command is a module of ``_cli``, loaded when it is called: ``--help`` is quick."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence

from relumine import __version__

STATUSES = ("running", "finished", "stalled", "failed")
SORT_FIELDS = (
    "created_at", "updated_at", "name", "last_step", "health", "final_loss", "project", "status", "layers_dead",
    "steps_per_s", "open_alerts", "duration_s", "lost_fraction",
)  # fmt: skip
SORTS = tuple(f"{direction}{field}" for field in SORT_FIELDS for direction in ("", "-"))
HEALTHS = ("unknown", "unwatched", "healthy", "at_risk", "damaged", "collapsed", "diverged")

# Exit statuses of a shell's commands that end by SIGPIPE and SIGINT. Never 0: `check` has not said "healthy" then.
STOPPED_READING = 141
INTERRUPTED = 130

RUN = "its id or the beginning of it, its name, or project/name"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="relumine",
        description="Detects dying ReLUs in PyTorch trainings.",
        epilog="`relumine COMMAND --help` explains a command. The API key is read from RELUMINE_API_KEY.",
    )
    parser.add_argument("--version", action="version", version=f"relumine {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_runs(commands.add_parser("runs", help="list runs, newest first"))
    _add_alerts(commands.add_parser("alerts", help="list open alerts, the most severe first"))
    _add_report(commands.add_parser("report", help="print the state of a run, its layers and its incidents"))
    _add_open(commands.add_parser("open", help="open the dashboard or the page of a run in a browser"))
    _add_sync(commands.add_parser("sync", help="send spooled uploads; safe to repeat"))
    check_help = "check a model before it is trained; exits 1 if something is flagged"
    _add_check(commands.add_parser("check", help=check_help))
    commands.add_parser("serve", help="start the server (needs the extra [server])", add_help=False)
    return parser


def _add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", help="only runs of this project")
    parser.add_argument("--status", choices=STATUSES, help="only runs of this status")
    parser.add_argument("--health", choices=HEALTHS, help="only runs of this health")
    parser.add_argument("--group", help="only runs of this group")
    parser.add_argument("--tag", help="only runs with this tag")
    parser.add_argument("--q", metavar="TEXT", help="only runs with this text in their id, name or group")
    sort_help = f"the order: {', '.join(SORT_FIELDS)} (the worst health first); --sort=-FIELD reverses it"
    parser.add_argument("--sort", choices=SORTS, metavar="FIELD", help=sort_help)
    parser.add_argument("--limit", type=_count, default=20, help="list at most this many (default: 20)")
    _add_output(parser)


def _add_alerts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", nargs="?", help=f"only alerts of this run: {RUN}")
    parser.add_argument("--all", action="store_true", help="list resolved alerts too")
    parser.add_argument("--limit", type=_count, default=50, help="list at most this many (default: 50)")
    _add_output(parser)


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--all", action="store_true", help="print all layers and alerts, not 20 of each")
    _add_output(parser)


def _add_open(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", nargs="?", help=f"{RUN} (default: the list of runs)")
    parser.add_argument("--print", action="store_true", help="print the address only")
    _add_url(parser)


def _add_sync(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", nargs="?", help="default: RELUMINE_DIR, or .relumine")
    _add_output(parser)


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", help="package.module:function or path/to/file.py:function, giving (model, inputs)")
    parser.add_argument("--html", metavar="FILE", help="write the report as a page too")
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead of text")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    _add_url(parser)


def _add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="the server (default: RELUMINE_URL, or http://127.0.0.1:7358)")


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    _write_any_character()
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if options.command == "serve":
        return _start_server(rest)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    command = _command(options.command)
    try:
        status = command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # `relumine runs | head`: nothing reads the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return STOPPED_READING
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _write_any_character() -> None:
    """Let names with characters that the terminal's encoding lacks be printed as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    if name == "check":
        from relumine._cli.check import run_check

        return run_check
    if name == "sync":
        from relumine._cli.sync import run_sync

        return run_sync
    return _asking(_reading_command(name))


def _reading_command(name: str) -> Callable[[argparse.Namespace], int]:
    if name == "runs":
        from relumine._cli.runs import run_runs

        return run_runs
    if name == "alerts":
        from relumine._cli.alerts import run_alerts

        return run_alerts
    if name == "open":
        from relumine._cli.browser import run_open

        return run_open
    from relumine._cli.report import run_report

    return run_report


def _asking(command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Return a command that asks the server, with its errors as sentences."""
    from relumine._cli.output import print_error, print_error_line
    from relumine._cli.run_lookup import RunNotFoundError
    from relumine.errors import RelumineError

    def run(options: argparse.Namespace) -> int:
        try:
            return command(options)
        except RunNotFoundError as error:
            print_error(error)
            for line in error.candidates:
                print_error_line(f"  {line}")
        except RelumineError as error:
            print_error(error)
        return 1

    return run


def _start_server(rest: Sequence[str]) -> int:
    try:
        from relumine_server.cli.main import main as serve
    except ImportError:
        print("relumine: the server is not installed: pip install 'relumine[server]'", file=sys.stderr)
        return 2
    serve(["serve", *rest])
    return 0
