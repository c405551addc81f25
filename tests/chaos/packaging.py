"""The cost of importing the SDK, and what installing it changes in an environment.

    python -m tests.chaos.packaging

Prints the time of ``import relumine`` over bare Python (median of 15, CPU), and creates two virtual environments: a
fresh one (how many packages the SDK brings) and one with older numpy and pydantic 2 (whether they stay as they are, and
the SDK works with them). Needs a package index.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.chaos.harness import ROOT

OLD = ("numpy==1.26.0", "pydantic==2.5.0")
USE = (
    "import relumine; from relumine.schemas.upload import Upload; "
    'upload = Upload.model_validate_json(b\'{"run": {"id": "r"}, "session": "s", "seq": 1}\'); '
    "relumine.Client('http://127.0.0.1:9'); print('works', upload.seq)"
)
WORKS = "works 1"
"""What ``USE`` prints."""
PIP_OWN = ("pip", "setuptools", "wheel")
REPEATS = 15


class Environment(NamedTuple):
    """Packages and versions before and after the SDK was installed, and the output of using it."""

    before_sdk: dict[str, str]
    with_sdk: dict[str, str]
    output: str


def cpu_s(code: str) -> float:
    """Return the CPU seconds of a Python that runs ``code``."""
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    return end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime


def packages(python: Path) -> dict[str, str]:
    """Return the packages of an environment and their versions, without pip itself."""
    command = [str(python), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    listed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {package["name"]: package["version"] for package in listed if package["name"] not in PIP_OWN}


def create_environment(folder: Path, wheel: Path, *requirements: str) -> Environment:
    """Create an environment with these packages, install the SDK and use it."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if requirements:
        subprocess.run([*install, *requirements], check=True)
    before_sdk = packages(python)
    subprocess.run([*install, str(wheel)], check=True)
    completed = subprocess.run([str(python), "-c", USE], capture_output=True, text=True, check=False)
    output = (completed.stdout + completed.stderr).strip().splitlines()[-1]
    return Environment(before_sdk, packages(python), output)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the import, then create both environments."""
    parser().parse_args(arguments)
    extra_s = [cpu_s("import relumine") - cpu_s("pass") for _ in range(REPEATS)]
    print(f"import relumine: {1000 * statistics.median(extra_s):.1f} ms of CPU over bare Python")
    with tempfile.TemporaryDirectory() as folder:
        build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, str(ROOT)]
        subprocess.run(build, check=True)
        (wheel,) = Path(folder).glob("relumine-*.whl")
        fresh = create_environment(Path(folder, "fresh"), wheel)
        names = ", ".join(sorted(fresh.with_sdk))
        print(f"fresh environment: {len(fresh.with_sdk)} packages ({names}); {fresh.output}")
        old = create_environment(Path(folder, "old"), wheel, *OLD)
        changed = {}
        for name, version in old.before_sdk.items():
            if old.with_sdk.get(name) != version:
                changed[name] = (version, old.with_sdk.get(name))
        print(f"with {', '.join(OLD)}: changed {changed or 'nothing'}; {old.output}")
    is_good = not changed and all(environment.output == WORKS for environment in (fresh, old))
    raise SystemExit(0 if is_good else 1)


if __name__ == "__main__":
    main()
