"""``relumine open``: prints the address of the dashboard or of a run's page, and opens it in a browser."""

from __future__ import annotations

import argparse
import os
import sys

from relumine._cli.connection import connected
from relumine._cli.output import print_line
from relumine._cli.run_lookup import find_run


def run_open(options: argparse.Namespace) -> int:
    """Print an address, and open it where there is a browser; return the exit status."""
    with connected(options.url) as client:
        # Put together here: the address in the server's answer could be of any scheme.
        address = client.url
        if options.run is not None:
            address = f"{client.url}/#/runs/{find_run(client, options.run).run_id}"
    print_line(address)
    if not options.print and has_browser():
        import webbrowser

        webbrowser.open(address)
    return 0


def has_browser() -> bool:
    """Return True where a browser has a screen of its own: one in the terminal would take this command's place."""
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
