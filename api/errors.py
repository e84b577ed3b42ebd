"""Map error classes to HTTP status codes and build the error body."""

from __future__ import annotations

import json
import logging
import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response

from api.validation_errors import readable_errors
from hunyuanocr import errors as e
from hunyuanocr.errors import HunyuanOcrError, from_unexpected

STATUS_CODES: dict[type[e.HunyuanOcrError], int] = {  # a class that is not listed has the status of its nearest parent
    e.HunyuanOcrError: 500,
    e.BadRequest: 400,
    e.Unauthorized: 401,
    e.Forbidden: 403,
    e.NotFound: 404,
    e.IdempotencyConflict: 409,
    e.JobAlreadyFinished: 409,
    e.ModelLoading: 409,
    e.ImageTooLarge: 413,
    e.TooManyPages: 413,
    e.UnsupportedMedia: 415,
    e.InvalidValue: 422,
    e.DocumentTooComplex: 422,
    e.TaskNotSupported: 422,
    e.SchemaNotSatisfied: 422,
    e.QueueFull: 429,
    e.BackendUnavailable: 503,
    e.StoreUnavailable: 503,
    e.OutOfDescriptors: 503,
    e.DeadlineExceeded: 504,
}
_BASIC = 'Basic realm="HunyuanOCR", charset="UTF-8"'
_BROWSER_HEADERS = frozenset({"sec-fetch-mode", "sec-fetch-site", "sec-fetch-dest", "origin", "referer", "x-requested-with"})
OPENAI_PATH = "/v1/chat/completions"
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
CLIENT_GONE = 499  # for the access log only: the connection is closed
_FRAMEWORK_ERRORS = {  # errors that the framework itself raises
    400: (e.BadRequest.code, e.BadRequest.hint),
    404: ("not_found", "See /docs for the list of routes."),
    405: ("method_not_allowed", "See /docs for the methods of this route."),
}


class ErrorResponse(BaseModel):
    """Body of every error response."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "detail": "The JPEG cannot be decoded.",
                    "code": "unreadable_image",
                    "hint": "The file is damaged or incomplete. Take or export the image again.",
                    "request_id": "8f14e45fceea467f9b5c3c5ed3b2a1f0",
                }
            ]
        }
    )

    detail: str = Field(description="What went wrong, for people. The wording may change.")
    code: str = Field(description="Stable error code, for programs.")
    hint: str = Field(description="How to fix the problem.")
    request_id: str = Field(description="Id of the request, as in the server log. Quote it when you report a problem.")
    errors: list[dict[str, Any]] | None = Field(
        None, description="Status 422 only: `loc`, `msg` and `type` of each invalid value."
    )


COMMON_RESPONSES: dict[int | str, dict[str, Any]] = {  # error responses of every route, for the OpenAPI document
    status: {"model": ErrorResponse, "description": description}
    for status, description in {
        400: "Malformed request.",
        401: "Credential missing, invalid, expired or revoked.",
        403: "Scope missing, client address not allowed, or cross-origin request.",
        413: "Request body too large.",
        429: "Rate limit or upload limit exceeded. Retry after `Retry-After` seconds.",
    }.items()
}


def status_of(error: e.HunyuanOcrError) -> int:
    """Return the status code of an error: that of its class, or of the nearest parent in `STATUS_CODES`."""
    return next(STATUS_CODES[c] for c in type(error).__mro__ if c in STATUS_CODES)


def error_response(
    request: HTTPConnection, error: e.HunyuanOcrError, *, errors: list[dict[str, Any]] | None = None
) -> JSONResponse:
    """Return the error as an HTTP response, with `Retry-After` (seconds) if the error is temporary."""
    wait = getattr(error, "retry_after", None)
    headers = {} if wait is None else {"Retry-After": str(math.ceil(wait))}
    response = json_error(request, status_of(error), error.code, error.message, error.hint, headers=headers, errors=errors)
    for challenge in _challenges(error, request):
        response.headers.append("WWW-Authenticate", challenge)
    return response


def _challenges(error: e.HunyuanOcrError, request: HTTPConnection) -> list[str]:
    """Return the values of `WWW-Authenticate` (RFC 6750, RFC 7617); none for errors other than those of authentication.

    A browser that receives the challenge of Basic opens a dialog of its own, over the page. Browsers do not get it.
    """
    parameters = {
        e.Unauthorized: "",
        e.InvalidCredential: ' error="invalid_token"',
        e.MissingScope: ' error="insufficient_scope"',
    }
    if type(error) not in parameters:
        return []
    bearer = f"Bearer{parameters[type(error)]}"
    return [bearer, _BASIC] if isinstance(error, e.Unauthorized) and not _is_browser(request) else [bearer]


def _is_browser(request: HTTPConnection) -> bool:
    """Return whether a browser may have sent the request. On plain HTTP, browsers send no `Sec-Fetch-*` headers."""
    headers = request.headers
    return (
        not _BROWSER_HEADERS.isdisjoint(headers.keys())
        or "text/html" in headers.get("accept", "")
        or headers.get("user-agent", "").startswith("Mozilla/5.0")
    )


def json_error(
    request: HTTPConnection,
    status: int,
    code: str,
    detail: str,
    hint: str,
    *,
    headers: dict[str, str] | None = None,
    errors: list[dict[str, Any]] | None = None,
) -> JSONResponse:
    """Return an error response: `ErrorResponse`, or OpenAI's error format on `OPENAI_PATH`."""
    payload = ErrorResponse(
        detail=detail, code=code, hint=hint, request_id=getattr(request.state, "request_id", ""), errors=errors
    )
    if request.scope["path"].endswith(OPENAI_PATH):
        return JSONResponse(openai_error(payload, status), status, headers)
    return JSONResponse(payload.model_dump(exclude_none=True), status, headers)


def error_payload(error: e.HunyuanOcrError, request_id: str) -> ErrorResponse:
    """Return the error body for an event stream or a WebSocket, which have no status code."""
    return ErrorResponse(detail=error.message, code=error.code, hint=error.hint, request_id=request_id, errors=None)


def websocket_error(error: e.HunyuanOcrError, request_id: str) -> str:
    """Return the message that reports an error of a whole WebSocket connection, as JSON; errors of one frame have its id."""
    body = error_payload(error, request_id).model_dump(exclude_none=True)
    return json.dumps({"type": "error", "frame_id": None, "status": "failed", "error": body})


def openai_error(payload: ErrorResponse, status: int) -> dict[str, Any]:
    """Return the error in OpenAI's format. The hint is part of the message: OpenAI's clients display the message only."""
    message = f"{payload.detail} {payload.hint} (request {payload.request_id})"
    param = ".".join(map(str, payload.errors[0]["loc"])) if payload.errors else None
    kind = _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": payload.code}}


def register_exception_handlers(app: FastAPI) -> None:
    """Register the exception handlers. `api.middleware` catches, logs and answers every other exception."""
    app.add_exception_handler(e.HunyuanOcrError, _handle_app_error)
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(HTTPException, _handle_http_exception)
    app.add_exception_handler(ClientDisconnect, _handle_disconnect)


async def _handle_app_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, e.HunyuanOcrError):
        raise error
    if status_of(error) == 500:
        request.state.failure = error  # `api.middleware` logs it with its traceback
    return error_response(request, error)


async def _handle_validation_error(request: Request, error: Exception) -> Response:
    details = readable_errors(error.errors(), error.body) if isinstance(error, RequestValidationError) else []
    locations = ", ".join(dict.fromkeys(".".join(map(str, x["loc"])) for x in details))
    return error_response(request, e.InvalidValue(f"Invalid request parameters: {locations}."), errors=details)


async def _handle_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code, hint = _FRAMEWORK_ERRORS.get(error.status_code, ("http_error", e.BadRequest.hint))
    return json_error(request, error.status_code, code, str(error.detail), hint, headers=dict(error.headers or {}))


async def _handle_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


log = logging.getLogger(__name__)


def to_client_error(error: Exception) -> HunyuanOcrError:
    """Return the error to report to the client. An unexpected exception is logged and replaced with a generic error."""
    if isinstance(error, HunyuanOcrError):
        return error
    log.error("Streaming failed.", exc_info=error)
    return from_unexpected(error)
