"""The common part of transport and client: headers and errors of the server's HTTP API, without an HTTP library."""

from __future__ import annotations

from relumine.schemas.base import Problem

NOT_RELUMINE = "the response is not from a Relumine server"


def auth_headers(api_key: str | None) -> dict[str, str]:
    """Return the headers that carry the API key, if there is one."""
    return {"authorization": f"Bearer {api_key}"} if api_key else {}


def parse_problem(content: bytes) -> Problem | None:
    """Return the problem details (RFC 9457) in a response; None where it holds none, so is not from our server."""
    try:
        return Problem.model_validate_json(content)
    except ValueError:
        return None
