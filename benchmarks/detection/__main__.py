"""One door to the measurements of the detector: ``python benchmarks/detection [--cost | --null | …] [options]``.

Without a name: ``score.py``, how well it does on kept runs. Every script says with ``--help`` what it measures.
"""

from __future__ import annotations

import importlib
import sys

SCRIPTS = ("cost", "null", "forecasts", "ablation", "figures", "sampling")


def main() -> None:
    """Hand the rest of the command line to the script that was named first."""
    name = sys.argv[1].removeprefix("--") if len(sys.argv) > 1 else ""
    if name in SCRIPTS:
        del sys.argv[1]
    importlib.import_module(name if name in SCRIPTS else "score").main()


if __name__ == "__main__":
    main()
