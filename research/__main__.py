"""``python -m research``: list the commands, or run one by name: ``python -m research scoring.cost --rounds 3``."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent


def command_names() -> Iterator[str]:
    """Yield the names of all modules with a ``main``, without the package's name."""
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.name != "__main__.py" and "\ndef main(" in file.read_text(encoding="utf-8"):
            yield ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


def summary(name: str) -> str:
    """Return the first line of a command's docstring."""
    source = (PACKAGE / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]


def main() -> None:
    """Hand the rest of the command line to the command that was named; without a name list them."""
    names = list(command_names())
    if len(sys.argv) == 1 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        for name in names:
            print(f"  {name:28s}{summary(name)}")
        return
    name = sys.argv[1]
    if name not in names:
        raise SystemExit(f"there is no command {name!r}; python -m research lists them")
    importlib.import_module(f"research.{name}").main(sys.argv[2:])


if __name__ == "__main__":
    main()
