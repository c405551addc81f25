"""Print the processor time from the start of each command to its end, and that of ``import relumine``.

    python -m benchmarks.startup.processor_time [--rounds 9] [--beside FOLDER]

The commands work on a new SQLite file with one key. With ``--beside FOLDER`` those of another checkout run in turn.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.common.checkouts import add_option, checkouts, environment
from benchmarks.common.stats import alternating, median_range

_CREATE_KEY = ["-m", "relumine_server", "keys", "create", "--scope", "admin"]
COMMANDS: Mapping[str, Sequence[str]] = {
    "python, nothing else": ["-c", "pass"],
    "import relumine": ["-c", "import relumine"],
    "relumine --help": ["-m", "relumine", "--help"],
    "relumine-server --help": ["-m", "relumine_server", "--help"],
    "relumine-server keys list": ["-m", "relumine_server", "keys", "list"],
    "relumine-server doctor": ["-m", "relumine_server", "doctor"],
}


def measured_ms(arguments: Sequence[str], checkout: Path, folder: Path) -> float:
    """Return the processor time of one program, its children included, in milliseconds."""
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment(checkout), capture_output=True, check=True)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime) * 1000


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=9)
    add_option(options)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser().parse_args(arguments)
    folders = checkouts(options.beside)
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, root in folders.items():
            (folder / name).mkdir()
            measured_ms(_CREATE_KEY, root, folder / name)
        arms = [(command, checkout) for command in COMMANDS for checkout in folders]
        for _round, (command, checkout) in alternating(arms, options.rounds):
            arm_ms = measured_ms(COMMANDS[command], folders[checkout], folder / checkout)
            times[command, checkout].append(arm_ms)
    print("processor time, milliseconds: median (least–most)")
    for command in COMMANDS:
        cells = (f"{checkout}: {median_range(times[command, checkout], 0)}" for checkout in folders)
        print(f"{command:<28}", *cells, sep="  ")


if __name__ == "__main__":
    main()
