"""The modules that each page of the dashboard needs: a browser asks for all of them at once.

Without it, a browser asks for a module when the one that imports it has arrived, six times in a row for a page.
"""

from __future__ import annotations

import posixpath
import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
APP = "app.js"
EARLY = "core/early.js"  # runs before the others have arrived, and asks for data

_STATIC_IMPORT = re.compile(r'^(?:import\b.*|}) from "(\.[^"]+)";', re.MULTILINE)


@cache
def app_modules() -> tuple[str, ...]:
    """Return the modules that every page needs, ``app.js`` first; without those that ``early.js`` needs."""
    return tuple(name for name in _reachable(APP) if name not in early_modules())


@cache
def early_modules() -> tuple[str, ...]:
    """Return ``early.js`` and the modules that it needs."""
    return _reachable(EARLY)


@cache
def page_modules() -> dict[str, list[str]]:
    """Return the modules that each page needs besides those of every page, by the name of the page."""
    pages = sorted((FOLDER / "pages").glob("*.js"))
    of_every_page = {*early_modules(), *app_modules()}
    return {
        path.stem: [name for name in _reachable(f"pages/{path.name}") if name not in of_every_page] for path in pages
    }


def _reachable(name: str) -> tuple[str, ...]:
    """Return a module and all that it imports, and what these import, each once; the names are below ``static``."""
    names = [name]
    for importing in names:  # grows meanwhile
        names += [imported for imported in _imports(importing) if imported not in names]
    return tuple(names)


def _imports(name: str) -> list[str]:
    addresses = _STATIC_IMPORT.findall((FOLDER / name).read_text(encoding="utf-8"))
    return list(dict.fromkeys(posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) for path in addresses))
