"""One table: class of error → status code. One body for all of them."""

from __future__ import annotations

import logging
import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response

from api.schemas.common import ErrorResponse
from hunyuanocr import errors as e
from hunyuanocr.errors import HunyuanOcrError, from_unexpected

STATUS_CODES: dict[type[e.HunyuanOcrError], int] = {  # a class that is not here takes its parent's
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
OPENAI_PATH = "/v1/chat/completions"
_REFUSED = "invalid_request_error"
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
CLIENT_GONE = 499  # for the log; nobody is there to read it
_HTTP = {  # what the framework itself refuses
    400: (e.BadRequest.code, e.BadRequest.hint),
    404: ("not_found", "See /docs for the routes there are."),
    405: ("method_not_allowed", "See /docs for the methods of this route."),
}


COMMON_RESPONSES: dict[int | str, dict[str, Any]] = {  # what any route may answer, for the OpenAPI document
    status: {"model": ErrorResponse, "description": words}
    for status, words in {
        400: "The request cannot be understood.",
        401: "No key, or one that is not good.",
        403: "This key may not, or this address.",
        413: "Too many bytes.",
        429: "Too many requests or uploads; come back after `Retry-After` seconds.",
    }.items()
}


def status_of(error: e.HunyuanOcrError) -> int:
    """The status code of an error, by its class or the nearest parent in the table."""
    return next(STATUS_CODES[c] for c in type(error).__mro__ if c in STATUS_CODES)


def error_response(
    request: HTTPConnection, error: e.HunyuanOcrError, *, errors: list[dict[str, Any]] | None = None
) -> JSONResponse:
    """The error as the client gets it; with Retry-After where waiting helps."""
    wait = getattr(error, "retry_after", None)
    headers = {} if wait is None else {"Retry-After": str(math.ceil(wait))}
    headers |= _challenge(error)
    return json_error(request, status_of(error), error.code, error.message, error.hint, headers=headers, errors=errors)


def _challenge(error: e.HunyuanOcrError) -> dict[str, str]:
    """What kind of key is wanted (RFC 6750, 3)."""
    said = {e.Unauthorized: "", e.InvalidCredential: ' error="invalid_token"', e.MissingScope: ' error="insufficient_scope"'}
    return {"WWW-Authenticate": f"Bearer{said[type(error)]}"} if type(error) in said else {}


def json_error(
    request: HTTPConnection, status: int, code: str, detail: str, hint: str, *,
    headers: dict[str, str] | None = None, errors: list[dict[str, Any]] | None = None,
) -> JSONResponse:  # fmt: skip
    """The one form of every error body."""
    told = ErrorResponse(detail=detail, code=code, hint=hint, request_id=getattr(request.state, "request_id", ""), errors=errors)
    if request.scope["path"].endswith(OPENAI_PATH):
        return JSONResponse(openai_error(told, status), status, headers)
    return JSONResponse(told.model_dump(exclude_none=True), status, headers)


def error_payload(error: e.HunyuanOcrError, request_id: str) -> ErrorResponse:
    """The same body where there is no status any more: in a stream or a socket."""
    return ErrorResponse(detail=error.message, code=error.code, hint=error.hint, request_id=request_id, errors=None)


def openai_error(told: ErrorResponse, status: int) -> dict[str, Any]:
    """The form in which OpenAI's clients look for errors; the hint is in the message, for they show nothing else of it."""
    message = f"{told.detail} {told.hint} (request {told.request_id})"
    where = ".".join(map(str, told.errors[0]["loc"])) if told.errors else None
    return {"error": {"message": message, "type": _OPENAI_TYPES.get(status, "server_error" if status >= 500 else _REFUSED),
                      "param": where, "code": told.code}}  # fmt: skip


def validation_errors(found: list[Any]) -> list[dict[str, Any]]:
    """Where, what and which kind; never what was sent."""
    return [{"loc": list(x["loc"]), "msg": x["msg"], "type": x["type"]} for x in found]


def register_exception_handlers(app: FastAPI) -> None:
    """Register the handlers. Whatever is not handled here is caught, logged and answered by `api.middleware`."""
    app.add_exception_handler(e.HunyuanOcrError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)


async def _ours(request: Request, error: Exception) -> Response:
    if not isinstance(error, e.HunyuanOcrError):
        raise error
    if status_of(error) == 500:
        request.state.failure = error  # the middleware logs it with its traceback
    return error_response(request, error)


async def _invalid(request: Request, error: Exception) -> Response:
    found = validation_errors(list(error.errors())) if isinstance(error, RequestValidationError) else []
    where = ", ".join(".".join(map(str, x["loc"])) for x in found)
    return error_response(request, e.InvalidValue(f"The request has values that cannot be used: {where}."), errors=found)


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code, hint = _HTTP.get(error.status_code, ("http_error", e.BadRequest.hint))
    return json_error(request, error.status_code, code, str(error.detail), hint, headers=dict(error.headers or {}))


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


log = logging.getLogger(__name__)


def to_client_error(error: Exception) -> HunyuanOcrError:
    """The error that a client is told about one that nobody expected, which goes to the log."""
    if isinstance(error, HunyuanOcrError):
        return error
    log.error("A stream broke.", exc_info=error)
    return from_unexpected(error)
