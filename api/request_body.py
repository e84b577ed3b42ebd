"""The body of a request → the picture's bytes and what is wanted of it, within the byte limit, whatever is sent."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import HTTPConnection
from starlette.types import Message

from api.json_limits import parse_json
from api.multipart import Part, read_parts
from api.schemas.ocr import OcrRequest
from hunyuanocr.errors import BadRequest, EmptyInput, ImageTooLarge, InvalidBase64, TooManyFiles, UnsupportedMedia

if TYPE_CHECKING:
    from api.schemas.ocr import OcrRequest

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R", bound=OcrRequest)
FILE_KEYS = ("file", "image", "image_file")
MAX_FIELDS_BYTES = 1024 * 1024  # bytes for everything but the picture: instruction, schema, multipart headers
_DRAIN = 128 * 1024 * 1024  # read and thrown away, so that a client that sends first and listens later hears the 413
_DRAIN_S = 10.0
_DATA_URI = re.compile(r"data:[^,]{0,200},", re.ASCII)
_WHITE = str.maketrans("", "", " \t\r\n")
_FORM = 'Send {"image": "<base64>", "instruction": "…"}, in UTF-8.'


@dataclass(frozen=True)
class Upload(Generic[R]):
    """One picture and what is wanted of it."""

    data: bytes
    params: R


async def parse_upload(request: Request, max_bytes: int, form: type[R]) -> Upload[R]:
    """Read a multipart or JSON request whose picture has at most `max_bytes` bytes; `form` is what may stand beside it.

    Raises EmptyInput, TooManyFiles, InvalidBase64, ImageTooLarge, UnsupportedMedia, BadRequest, and RequestValidationError for
    what stands beside the picture.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        body = limit_body(request, max_bytes + MAX_FIELDS_BYTES)
        return await _from_form(await read_parts(request.headers["content-type"], body.stream()), form)
    data = await limit_body(request, max_bytes * 4 // 3 + MAX_FIELDS_BYTES).body()
    if not data:
        raise EmptyInput("The request has no body.")
    if kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMedia(
            f"The content type '{kind[:80]}' is not one that is read here.",
            hint="Send multipart/form-data with a file, or application/json with base64 in 'image'.",
        )
    return await asyncio.to_thread(_from_json, data, form)


async def parse_json_body(request: Request, max_bytes: int, form: type[M]) -> M:
    """A JSON body whose pictures have `max_bytes` bytes together, as a model of pydantic's.

    Raises EmptyInput, BadRequest, ImageTooLarge, RequestValidationError.
    """
    body = await limit_body(request, max_bytes * 4 // 3 + MAX_FIELDS_BYTES).body()
    if not body:
        raise EmptyInput("The request has no body.")
    return await asyncio.to_thread(_parsed, body, form)


def _parsed(body: bytes, form: type[M]) -> M:
    return validate_model(form, parse_json_object(body, "body", _FORM))


def limit_body(request: Request, limit: int) -> Request:
    """The request with a `receive` that raises ImageTooLarge as soon as more than `limit` bytes have come."""
    seen = 0
    receive = request.receive

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            await _drain(request, message)
            raise ImageTooLarge(f"The request has more than {limit} bytes.")
        return message

    return Request(request.scope, counted)


async def _drain(request: Request, message: Message) -> None:
    """Throw the rest of a body away, within bounds; most clients listen only after they have sent everything."""
    request.state.discarding = True  # what is thrown away is not counted as held
    seen = 0
    try:
        async with asyncio.timeout(_DRAIN_S):
            while message.get("more_body") and seen < _DRAIN:
                message = await request.receive()
                seen += len(message.get("body", b""))
    except TimeoutError:
        return  # it gets its answer now, and the connection is closed


async def _from_form(parts: list[Part], form: type[R]) -> Upload[R]:
    files = [p for p in parts if p.data and (p.is_file or p.name in FILE_KEYS)]  # browsers send empty inputs along
    if len(files) > 1:
        raise TooManyFiles(f"{len(files)} files came with one request.")
    if not files:
        raise EmptyInput("The form has no file, or an empty one.")
    (picture,) = files
    if picture.name not in FILE_KEYS:
        raise EmptyInput(f"The form's file is called '{picture.name[:40]}'.", hint="Call it 'file', 'image' or 'image_file'.")
    wanted = await asyncio.to_thread(lambda: validate_model(form, form_fields(part for part in parts if part is not picture)))
    if picture.is_file:
        return Upload(bytes(picture.data), wanted)
    return Upload(await asyncio.to_thread(decode_base64, picture.text()), wanted)


def form_fields(parts: Iterable[Part]) -> dict[str, Any]:
    """Return the text fields of a form. Raises BadRequest for more than `MAX_FIELDS_BYTES` bytes in all, and for text that
    is not UTF-8.
    """
    values: dict[str, Any] = {}
    size = 0
    for part in parts:
        size += len(part.data)
        if size > MAX_FIELDS_BYTES:
            raise BadRequest(
                f"The text fields of the form have more than {MAX_FIELDS_BYTES} bytes.", hint="Send pictures as files."
            )
        again = part.name == "fields" and part.name in values  # several inputs of one name are one list
        values[part.name] = f"{values[part.name]},{part.text()}" if again else part.text()
    return values


def _from_json(body: bytes, form: type[R]) -> Upload[R]:
    values = parse_json_object(body, "body", _FORM)
    pictures = [picture for key in FILE_KEYS if (picture := values.pop(key, None)) not in (None, "")]
    if len(pictures) > 1:
        raise TooManyFiles(f"{len(pictures)} pictures came with one request.")
    wanted = validate_model(form, values)
    if not pictures:
        raise EmptyInput("The request has no picture.")
    if not isinstance(pictures[0], str):
        raise InvalidBase64("The picture is not a string.")
    return Upload(decode_base64(pictures[0]), wanted)


def validate_model(form: type[M], values: dict[str, Any]) -> M:
    """The values as a model of pydantic's; RequestValidationError says what is wrong with them."""
    try:
        return form.model_validate(values)
    except ValidationError as e:
        raise RequestValidationError(e.errors(include_input=False, include_url=False, include_context=False)) from e


def decode_base64(text: str) -> bytes:
    """Bytes of raw base64 (standard or URL-safe, with or without padding and line breaks) or of a base64 data URI."""
    head = _DATA_URI.match(text)
    if head and not head[0].rstrip(",").endswith(";base64"):
        raise InvalidBase64("The data URI is not base64.")
    packed = (text[head.end() :] if head else text).translate(_WHITE).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        data = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError) as e:
        raise InvalidBase64("The picture is not base64.") from e
    if not data:
        raise EmptyInput("The picture is empty.")
    return data


def device_from(request: HTTPConnection, params: OcrRequest | None = None) -> str | None:
    """The device that a request names: in its body, or in the header `X-Device` (UTF-8; what is longer is cut)."""
    if params is not None and params.device is not None:
        return params.device
    given = request.headers.get("x-device", "").encode("latin-1").decode("utf-8", "replace").strip()
    return given[:200] or None


def parse_json_object(text: str | bytes, what: str, hint: str) -> dict[str, Any]:
    """Return the object that the text holds. Raises BadRequest, calling the text `what`, also for what exceeds the bounds."""
    try:
        values = parse_json(text.encode() if isinstance(text, str) else text)
    except (ValueError, RecursionError) as e:
        raise BadRequest(f"The {what} is not JSON.", hint=hint) from e
    if not isinstance(values, dict):
        raise BadRequest(f"The {what} is JSON, but not an object.", hint=hint)
    return values
