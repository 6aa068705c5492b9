"""Errors in the form of Google's APIs, for the routes that speak as one of them."""

from __future__ import annotations

from typing import Any

from guard.errors import GuardError, error_object, http_status

PREFIX = "/v1alpha1/"
"""Paths that answer in this form."""

_TYPE = "type.googleapis.com/google.commentanalyzer.v1alpha1.Error"
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def google_error_object(error: GuardError) -> dict[str, Any]:
    """Return Google's error object; ``errorType`` is our code in capitals.

    >>> google_error_object(GuardError("no luck"))["error"]["details"][0]["errorType"]
    'INTERNAL_ERROR'
    """
    code = http_status(error)
    kind = str(error_object(error)["error"]["code"]).upper()
    status = _STATUS.get(code, "INTERNAL")
    details = [{"@type": _TYPE, "errorType": kind}]
    return {"error": {"code": code, "message": str(error), "status": status, "details": details}}
