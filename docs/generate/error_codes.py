"""The table of problem codes, from the classes of ``relumine_server.errors``."""

from __future__ import annotations

from collections.abc import Iterator

from relumine_server.errors import CODES, ROUTER_CODES, ProblemError

HEADER = "| status | code | meaning | Retry-After |\n|---|---|---|---|"

ROUTER = {
    "not_found": (404, "No such route"),
    "method_not_allowed": (405, "The route exists, with other methods"),
    "unsupported_media_type": (415, "The body is not JSON by its Content-Type"),
    "http_error": (400, "Any other error of the router; the response has its own status"),
}
"""What the router itself answers: status and meaning."""


def table() -> str:
    """Return one row per code, by status and code."""
    rows = {code: (status, meaning, "") for code, (status, meaning) in ROUTER.items() if code in ROUTER_CODES}
    for problem in _classes(ProblemError):
        seconds = problem.headers.get("Retry-After", "")
        rows.setdefault(problem.code, (problem.status, problem.title, f"{seconds} s" if seconds else ""))
    missing = CODES - rows.keys()
    if missing:
        raise ValueError(f"no row for {missing}")
    ordered = sorted(rows.items(), key=lambda row: (row[1][0], row[0]))
    lines = [f"| {status} | `{code}` | {meaning} | {retry} |" for code, (status, meaning, retry) in ordered]
    return "\n".join([HEADER, *lines])


def _classes(problem: type[ProblemError]) -> Iterator[type[ProblemError]]:
    yield problem
    for subclass in problem.__subclasses__():
        yield from _classes(subclass)
