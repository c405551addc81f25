"""What installing and importing the SDK costs somebody else's environment.

    python benchmarks/chaos/install.py

Prints the time of ``import relumine`` over bare Python (median of 15, CPU), and makes two virtual environments: a fresh
one (how many packages the SDK brings) and one with older numpy and pydantic 2 (whether they stay as they are, and the
SDK works with them). Needs a package index.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
OLD = ("numpy==1.26.0", "pydantic==2.5.0")
USE = (
    "import relumine, relumine.wire as w, relumine.views as v; "
    'u = w.Upload.model_validate_json(b\'{"run": {"id": "r"}, "session": "s", "seq": 1}\'); '
    "relumine.Client('http://127.0.0.1:9'); print('works', u.seq)"
)


def cpu_s(code: str) -> float:
    """CPU seconds of a Python that runs ``code``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def installed(python: Path) -> dict[str, str]:
    """Packages of an environment and their versions, without pip itself."""
    command = [str(python), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    listed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {one["name"]: one["version"] for one in listed if one["name"] not in ("pip", "setuptools", "wheel")}


def environment(folder: Path, wheel: Path, *first: str) -> tuple[dict[str, str], dict[str, str], str]:
    """Packages before and after the SDK was installed, and what using it printed."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if first:
        subprocess.run([*pip, *first], check=True)
    before = installed(python)
    subprocess.run([*pip, str(wheel)], check=True)
    said = subprocess.run([str(python), "-c", USE], capture_output=True, text=True, check=False)
    return before, installed(python), (said.stdout + said.stderr).strip().splitlines()[-1]


def main() -> None:
    """Import time, then both environments."""
    extra = [cpu_s("import relumine") - cpu_s("pass") for _ in range(15)]
    print(f"import relumine: {1000 * statistics.median(extra):.1f} ms of CPU over bare Python")
    with tempfile.TemporaryDirectory() as folder:
        build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, str(ROOT)]
        subprocess.run(build, check=True)
        (wheel,) = Path(folder).glob("relumine-*.whl")
        _, fresh, said = environment(Path(folder, "fresh"), wheel)
        print(f"fresh environment: {len(fresh)} packages ({', '.join(sorted(fresh))}); {said}")
        before, after, said = environment(Path(folder, "old"), wheel, *OLD)
        changed = {name: (version, after.get(name)) for name, version in before.items() if after.get(name) != version}
        print(f"with {', '.join(OLD)}: changed {changed or 'nothing'}; {said}")


if __name__ == "__main__":
    main()
