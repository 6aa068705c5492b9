"""What can go wrong on the path of a message, cut by what the client can do; one table maps it to HTTP.

- :class:`GuardError`
    - :class:`BadRequestError`: mend the request.
        - :class:`TooLargeError`: send less.
    - :class:`UnauthorizedError`: send a key that exists.
    - :class:`ForbiddenError`: use a key with the role.
    - :class:`NotFoundError`: another route, model or id.
    - :class:`BusyError`: the same again, later.
        - :class:`ConversationBusyError`: when the request before it has been answered.
        - :class:`OverloadedError`: when the queue is shorter.
    - :class:`UpstreamError`: the chatbot behind us did not answer as it should.
        - :class:`UpstreamLimitError`: it asked for patience; its Retry-After passes through.
        - :class:`UpstreamTimeoutError`: it stalled.
        - :class:`UpstreamNotReadyError`: its version is not loaded; the client gets the fixed reply instead.
"""

from __future__ import annotations

from typing import Any


class GuardError(Exception):
    """Root of the errors of ``guard``. ``code`` and ``param`` are those of OpenAI's error object."""

    def __init__(self, message: str, *, code: str = "", param: str | None = None, retry_after: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.retry_after = retry_after


class BadRequestError(GuardError):
    """The request is not what the route takes."""


class TooLargeError(BadRequestError):
    """The body is over the limit."""


class UnauthorizedError(GuardError):
    """No key, or none that we know."""


class ForbiddenError(GuardError):
    """The key lacks the role."""


class NotFoundError(GuardError):
    """There is no such route, model or id."""


class BusyError(GuardError):
    """Not now; ``retry_after`` says when, in seconds."""


class ConversationBusyError(BusyError):
    """Another request of the same conversation, or with the same Idempotency-Key, is still being answered."""


class OverloadedError(BusyError):
    """The scoring queue is full."""


class UpstreamError(GuardError):
    """The upstream is down, or what it answered cannot be read."""


class UpstreamLimitError(UpstreamError):
    """The upstream answered 429."""


class UpstreamTimeoutError(UpstreamError):
    """The upstream sent nothing for too long."""


class UpstreamNotReadyError(UpstreamError):
    """The version to answer with could not be loaded or verified."""


_HTTP: dict[type[GuardError], tuple[int, str, str]] = {
    TooLargeError: (413, "invalid_request_error", "request_too_large"),
    BadRequestError: (400, "invalid_request_error", "invalid_request"),
    UnauthorizedError: (401, "authentication_error", "invalid_api_key"),
    ForbiddenError: (403, "permission_error", "missing_role"),
    NotFoundError: (404, "invalid_request_error", "not_found"),
    ConversationBusyError: (409, "conflict_error", "conversation_busy"),
    OverloadedError: (503, "server_error", "overloaded"),
    BusyError: (503, "server_error", "busy"),
    UpstreamLimitError: (429, "rate_limit_error", "rate_limit_exceeded"),
    UpstreamTimeoutError: (504, "server_error", "upstream_timeout"),
    UpstreamNotReadyError: (503, "server_error", "version_not_ready"),
    UpstreamError: (502, "server_error", "upstream_error"),
    GuardError: (500, "server_error", "internal_error"),
}


def http_status(error: GuardError) -> int:
    """Return the HTTP status of an error.

    >>> http_status(TooLargeError("send less"))
    413
    """
    return _row(error)[0]


def error_object(error: GuardError) -> dict[str, Any]:
    """Return OpenAI's error object.

    >>> error_object(NotFoundError("no such model", code="model_not_found", param="model"))["error"]["code"]
    'model_not_found'
    """
    _, kind, code = _row(error)
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": error.code or code}}


def _row(error: GuardError) -> tuple[int, str, str]:
    return next(_HTTP[kind] for kind in type(error).__mro__ if kind in _HTTP)
