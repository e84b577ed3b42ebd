"""Parse request bodies into image bytes and parameters, within byte limits."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import HTTPConnection
from starlette.types import Message

from api.json_limits import parse_json
from api.limits import MAX_FIELDS_BYTES
from api.multipart import Part, read_parts
from api.schemas.ocr import OcrRequest
from hunyuanocr.errors import BadRequest, EmptyInput, ImageTooLarge, InvalidBase64, TooManyFiles, UnsupportedMedia

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R", bound=OcrRequest)
FILE_KEYS = ("file", "image", "image_file")
_MAX_DRAIN_BYTES = 128 * 1024 * 1024  # discarded, so that a client that sends its whole request first receives the 413
_DRAIN_TIMEOUT_S = 10.0
_DATA_URI = re.compile(r"data:[^,]{0,200},", re.ASCII)
_WHITESPACE = str.maketrans("", "", " \t\r\n")
_JSON_HINT = 'Send {"image": "<base64>", "instruction": "…"} in UTF-8.'


@dataclass(frozen=True)
class Upload(Generic[R]):
    """One image and the parameters of the request."""

    data: bytes
    params: R


async def parse_upload(request: Request, max_bytes: int, form: type[R]) -> Upload[R]:
    """Parse a multipart or JSON request with one image of at most `max_bytes` bytes; `form` is the model of the parameters.

    Raises EmptyInput, TooManyFiles, InvalidBase64, ImageTooLarge, UnsupportedMedia, BadRequest, and RequestValidationError for
    the parameters.
    """
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        body = limit_body(request, max_bytes + MAX_FIELDS_BYTES)
        return await _from_form(await read_parts(request.headers["content-type"], body.stream()), form)
    data = await limit_body(request, max_bytes * 4 // 3 + MAX_FIELDS_BYTES).body()
    if not data:
        raise EmptyInput("The request has no body.")
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise UnsupportedMedia(
            f"Content type '{content_type[:80]}' is not supported.",
            hint="Send multipart/form-data with a file, or application/json with base64 in 'image'.",
        )
    return await asyncio.to_thread(_from_json, data, form)


async def parse_json_body(request: Request, max_bytes: int, form: type[M]) -> M:
    """Parse a JSON body with images of at most `max_bytes` bytes in total, and validate it with the pydantic model `form`.

    Raises EmptyInput, BadRequest, ImageTooLarge, RequestValidationError.
    """
    body = await limit_body(request, max_bytes * 4 // 3 + MAX_FIELDS_BYTES).body()
    if not body:
        raise EmptyInput("The request has no body.")
    return await asyncio.to_thread(_parse_and_validate, body, form)


def _parse_and_validate(body: bytes, form: type[M]) -> M:
    return validate_model(form, parse_json_object(body, "body", _JSON_HINT))


def limit_body(request: Request, limit: int) -> Request:
    """Return the request with a `receive` that raises ImageTooLarge after more than `limit` bytes."""
    received = 0
    receive = request.receive

    async def counting_receive() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            await _drain(request, message)
            raise ImageTooLarge(f"Request body exceeds {limit} bytes.")
        return message

    return Request(request.scope, counting_receive)


async def _drain(request: Request, message: Message) -> None:
    """Read and discard the rest of a body, within limits: most clients read the response only after sending everything."""
    request.state.discarding = True  # discarded bytes do not count against the upload budget
    received = 0
    try:
        async with asyncio.timeout(_DRAIN_TIMEOUT_S):
            while message.get("more_body") and received < _MAX_DRAIN_BYTES:
                message = await request.receive()
                received += len(message.get("body", b""))
    except TimeoutError:
        return  # respond now; the server closes the connection


async def _from_form(parts: list[Part], form: type[R]) -> Upload[R]:
    files = [p for p in parts if p.data and (p.is_file or p.name in FILE_KEYS)]  # browsers also send empty inputs
    if len(files) > 1:
        raise TooManyFiles(f"The request has {len(files)} files.")
    if not files:
        raise EmptyInput("The form has no file, or the file is empty.")
    (image,) = files
    if image.name not in FILE_KEYS:
        raise EmptyInput(
            f"Unknown form field '{image.name[:40]}' for the file.", hint="Name the field 'file', 'image' or 'image_file'."
        )
    params = await asyncio.to_thread(lambda: validate_model(form, form_fields(part for part in parts if part is not image)))
    if image.is_file:
        return Upload(bytes(image.data), params)
    return Upload(await asyncio.to_thread(decode_base64, image.text()), params)


def form_fields(parts: Iterable[Part]) -> dict[str, Any]:
    """Return the text fields of a form. Raises BadRequest for more than `MAX_FIELDS_BYTES` bytes in total or invalid UTF-8."""
    values: dict[str, Any] = {}
    size = 0
    for part in parts:
        size += len(part.data)
        if size > MAX_FIELDS_BYTES:
            raise BadRequest(f"The text fields of the form exceed {MAX_FIELDS_BYTES} bytes.", hint="Send images as files.")
        repeated = part.name == "fields" and part.name in values  # repeated inputs form one list
        values[part.name] = f"{values[part.name]},{part.text()}" if repeated else part.text()
    return values


def _from_json(body: bytes, form: type[R]) -> Upload[R]:
    values = parse_json_object(body, "body", _JSON_HINT)
    images = [image for key in FILE_KEYS if (image := values.pop(key, None)) not in (None, "")]
    if len(images) > 1:
        raise TooManyFiles(f"The request has {len(images)} images.")
    params = validate_model(form, values)
    if not images:
        raise EmptyInput("The request has no image.")
    if not isinstance(images[0], str):
        raise InvalidBase64("The image is not a string.")
    return Upload(decode_base64(images[0]), params)


def validate_model(form: type[M], values: dict[str, Any]) -> M:
    """Validate `values` with the pydantic model `form`. Raises RequestValidationError."""
    try:
        return form.model_validate(values)
    except ValidationError as e:
        raise RequestValidationError(e.errors(include_input=False, include_url=False, include_context=False)) from e


def decode_base64(text: str) -> bytes:
    """Decode raw base64 (standard or URL-safe, with or without padding and line breaks) or a base64 data URI.

    Raises InvalidBase64 and EmptyInput.
    """
    prefix = _DATA_URI.match(text)
    if prefix and not prefix[0].rstrip(",").endswith(";base64"):
        raise InvalidBase64("The data URI is not base64-encoded.")
    encoded = (text[prefix.end() :] if prefix else text).translate(_WHITESPACE).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError) as e:
        raise InvalidBase64("The image is not valid base64.") from e
    if not data:
        raise EmptyInput("The image is empty.")
    return data


def device_from(request: HTTPConnection, params: OcrRequest | None = None) -> str | None:
    """Return the device name from the body or the header `X-Device` (UTF-8), at most 200 characters; None without one."""
    if params is not None and params.device is not None:
        return params.device
    name = request.headers.get("x-device", "").encode("latin-1").decode("utf-8", "replace").strip()
    return name[:200] or None


def parse_json_object(text: str | bytes, what: str, hint: str) -> dict[str, Any]:
    """Parse a JSON object. Raises BadRequest if it is invalid or exceeds the limits; `what` names the text in the message."""
    try:
        values = parse_json(text.encode() if isinstance(text, str) else text)
    except (ValueError, RecursionError) as e:
        raise BadRequest(f"The {what} is not valid JSON.", hint=hint) from e
    if not isinstance(values, dict):
        raise BadRequest(f"The {what} is not a JSON object.", hint=hint)
    return values
