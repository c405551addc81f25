"""Checks of the server's answers beside schemathesis' own; ``openapi_fuzz`` loads this module into schemathesis."""

from __future__ import annotations

import schemathesis
from schemathesis.checks import CheckContext
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import positive_data_acceptance

INVALID_FORM = "invalid_request"


@schemathesis.check
def valid_data_is_accepted(ctx: CheckContext, response: Response, case: schemathesis.Case) -> bool | None:
    """Check that data which the document allows is not refused for its form.

    A refusal for its meaning has another code: a cursor that the server did not issue, an end in the past, a webhook
    on a host that may not be called. No schema can express that, so schemathesis' own check would report it.
    """
    content_type = (response.headers.get("content-type") or [""])[0]
    if content_type == "application/problem+json" and response.json()["code"] != INVALID_FORM:
        return None
    return positive_data_acceptance(ctx, response, case)


@schemathesis.check
def every_error_is_a_problem(_ctx: CheckContext, response: Response, _case: schemathesis.Case) -> bool | None:
    """Check that every error is a problem with a code and the id of its request."""
    if response.status_code >= 400:
        assert (response.headers.get("content-type") or [""])[0] == "application/problem+json"
        problem = response.json()
        assert problem["code"]
        assert problem["request_id"] == (response.headers.get("x-request-id") or [""])[0]
        assert problem["status"] == response.status_code
    return None
