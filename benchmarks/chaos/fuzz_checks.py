"""What schemathesis checks beside its own checks; ``fuzz.py`` loads it into schemathesis."""

from __future__ import annotations

import schemathesis
from schemathesis.checks import CheckContext
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import positive_data_acceptance

FORM = "invalid_request"


@schemathesis.check
def good_data_is_taken(ctx: CheckContext, response: Response, case: schemathesis.Case) -> bool | None:
    """What the document allows is not refused for its form.

    A refusal for its meaning has a code of its own: a cursor that is none of the server's, an end in the past, a
    webhook on a machine that may not be called. No schema can say that, so schemathesis' own check would call it wrong.
    """
    kind = (response.headers.get("content-type") or [""])[0]
    if kind == "application/problem+json" and response.json()["code"] != FORM:
        return None
    return positive_data_acceptance(ctx, response, case)


@schemathesis.check
def every_error_is_a_problem(_ctx: CheckContext, response: Response, _case: schemathesis.Case) -> bool | None:
    """Whatever is refused is a problem with a code and the id of its request."""
    if response.status_code >= 400:
        assert (response.headers.get("content-type") or [""])[0] == "application/problem+json"  # noqa: S101 - how checks speak
        problem = response.json()
        assert problem["code"]  # noqa: S101
        assert problem["request_id"] == (response.headers.get("x-request-id") or [""])[0]  # noqa: S101
        assert problem["status"] == response.status_code  # noqa: S101
    return None
