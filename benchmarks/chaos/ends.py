"""A training ends in every way there is: what the server holds afterwards, and after syncing twice.

    python benchmarks/chaos/ends.py

Each way is tried with the server present and with the server absent until the process is gone.
"""

from __future__ import annotations

import tempfile

from rig import free_port, server, stored_looks, sync, train

WAYS = ("close", "return", "sys.exit", "exception", "SIGINT", "SIGTERM", "os._exit", "SIGKILL")


def main() -> None:
    """One line per way."""
    print(f"{'way':<10} {'server':<8} {'exit':>5} {'looks':>6} {'held':>6} {'after sync':>11} {'twice':>6}  lost")
    for way in WAYS:
        for present in (True, False):
            run = f"end-{way.replace('.', '').lower()}-{int(present)}"
            with tempfile.TemporaryDirectory() as folder, server() as url:
                target = url if present else f"http://127.0.0.1:{free_port()}"
                arguments = ("--url", target, "--steps", "400", "--pause", "0.01", "--end", way, "--run", run)
                code, lines, _, _ = train(folder, *arguments)
                looks = lines[0]["stats"]["samples"]
                held = [stored_looks(url, run)]
                for _ in range(2):
                    sync(folder, url)
                    held.append(stored_looks(url, run))
            if any(len(steps) != len(set(steps)) for steps in held):
                raise SystemExit(f"{way}: a step is held twice")
            lost = looks - len(held[-1])
            shown = "present" if present else "absent"
            counts = f"{len(held[0]):>6} {len(held[1]):>11} {len(held[2]):>6}"
            print(f"{way:<10} {shown:<8} {code:>5} {looks:>6} {counts}  {lost} looks ({lost * 0.012:.2f} s)")


if __name__ == "__main__":
    main()
