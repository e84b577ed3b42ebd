"""Parse request bodies into image bytes and parameters, within byte limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.requests import HTTPConnection
from starlette.types import Message

from api.base64_images import decode_base64
from api.charset import decode_text
from api.ignored_keys import ignored_key_warnings, parameter_names, similar_name
from api.json_limits import parse_json
from api.limits import MAX_FIELDS_BYTES
from api.multipart import Part, read_parts
from api.schemas.ocr import OcrRequest
from hunyuanocr.errors import BadRequest, EmptyInput, ImageTooLarge, InvalidBase64, TooManyFiles, UnsupportedMedia
from hunyuanocr.images import sniff
from hunyuanocr.types import ResultWarning

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R", bound=OcrRequest)
FILE_KEYS = ("file", "image", "image_file")
_MAX_DRAIN_BYTES = 128 * 1024 * 1024  # discarded, so that a client that sends its whole request first receives the 413
_DRAIN_TIMEOUT_S = 10.0
_BINARY_START = 4096  # bytes of a file, among which every supported file type has a NUL, except for some PDF files
_JSON_HINT = 'Send {"image": "<base64>", "instruction": "…"} in UTF-8.'


@dataclass(frozen=True)
class Upload(Generic[R]):
    """One image and the parameters of the request. `notices` warn about keys that were ignored."""

    data: bytes
    params: R
    notices: tuple[ResultWarning, ...] = ()


async def parse_upload(request: Request, max_bytes: int, form: type[R]) -> Upload[R]:
    """Parse a multipart or JSON request with one image of at most `max_bytes` bytes; `form` is the model of the parameters.

    Raises EmptyInput, TooManyFiles, InvalidBase64, RemoteImageRefused, ImageTooLarge, UnsupportedMedia, BadRequest, and
    RequestValidationError for the parameters.
    """
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    query = [*request.query_params]
    if content_type == "multipart/form-data":
        body = limit_body(request, max_bytes + MAX_FIELDS_BYTES)
        parts = await read_parts(request.headers["content-type"], body.stream())
        return await asyncio.to_thread(_from_form, parts, form, query)
    data = await limit_body(request, max_bytes * 4 // 3 + MAX_FIELDS_BYTES).body()
    if not data:
        raise EmptyInput("The request has no body.")
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise UnsupportedMedia(
            f"Content type '{content_type[:80]}' is not supported.",
            hint="Send multipart/form-data with a file, or application/json with base64 in 'image'.",
        )
    return await asyncio.to_thread(_from_json, data, _charset(request), form, query)


async def parse_json_body(request: Request, max_bytes: int, form: type[M]) -> M:
    """Parse a JSON body with images of at most `max_bytes` bytes in total, and validate it with the pydantic model `form`.

    Raises EmptyInput, BadRequest, ImageTooLarge, RequestValidationError.
    """
    body = await limit_body(request, max_bytes * 4 // 3 + MAX_FIELDS_BYTES).body()
    if not body:
        raise EmptyInput("The request has no body.")
    return await asyncio.to_thread(_parse_and_validate, body, _charset(request), form)


def _parse_and_validate(body: bytes, charset: str, form: type[M]) -> M:
    return validate_model(form, _parse_body(body, charset))


def _charset(request: Request) -> str:
    """Return the character set that the request declares for its body, in lower case, or an empty string."""
    options = parse_options_header(request.headers.get("content-type", ""))[1]
    return options.get(b"charset", b"").decode("ascii", "replace").lower()


def _parse_body(body: bytes, charset: str) -> dict[str, Any]:
    if charset not in ("", "utf-8", "utf8"):
        body = decode_text(body, charset, "the body").encode()
    return parse_json_object(body, "body", _JSON_HINT)


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


def _from_form(parts: list[Part], form: type[R], query: list[str]) -> Upload[R]:
    files, texts = split_form(parts, form)
    files = [part for part in files if part.data]  # browsers also send empty inputs
    if len(files) > 1:
        raise TooManyFiles(f"The request has {len(files)} files.")
    if not files:
        raise EmptyInput("The form has no file, or the file is empty.")
    (image,) = files
    if image.name not in FILE_KEYS:
        raise EmptyInput(
            f"Unknown form field '{image.name[:40]}' for the file.", hint="Name the field 'file', 'image' or 'image_file'."
        )
    params = validate_model(form, form_fields(texts, form))
    return Upload(image_of(image), params, ignored_keys([part.name for part in texts], query, form))


def split_form(parts: Iterable[Part], form: type[OcrRequest]) -> tuple[list[Part], list[Part]]:
    """Return the files of a form, and its other fields. Blocking. Raises BadRequest.

    Headers of parts do not decide it alone: some libraries send files without `filename`, others send it with every part.
    """
    names = parameter_names(form)
    files: list[Part] = []
    texts: list[Part] = []
    for part in parts:
        part.decode_transfer()
        is_file = part.name in FILE_KEYS or (part.name not in names and (part.declares_file or _is_binary(part)))
        (files if is_file else texts).append(part)
    return files, texts


def _is_binary(part: Part) -> bool:
    """Return whether the data are no text in the declared character set; UTF-16 and UTF-32 have zero bytes."""
    has_zeros = part.charset.lower().startswith(("utf-16", "utf-32", "utf16", "utf32"))
    return (b"\0" in part.data[:_BINARY_START] and not has_zeros) or part.data.startswith(b"%PDF-")


def image_of(part: Part) -> bytes:
    """Return the bytes of a file, which a field without a file name may contain as base64. Blocking. Raises InvalidBase64."""
    is_text = part.data.isascii() and not _is_binary(part)
    if part.declares_file or not is_text or sniff(bytes(part.data[:_BINARY_START])) is not None:
        return bytes(part.data)
    return decode_base64(part.text())


def form_fields(parts: Iterable[Part], form: type[OcrRequest]) -> dict[str, Any]:
    """Return the parameters among the text fields of a form.

    Raises BadRequest for more than `MAX_FIELDS_BYTES` bytes in total, and for a parameter that does not fit its character set.
    """
    names = parameter_names(form)
    values: dict[str, Any] = {}
    size = 0
    for part in parts:
        size += len(part.data)
        if size > MAX_FIELDS_BYTES:
            raise BadRequest(f"The text fields of the form exceed {MAX_FIELDS_BYTES} bytes.", hint="Send images as files.")
        if part.name in names:
            repeated = part.name == "fields" and part.name in values  # repeated inputs form one list
            values[part.name] = f"{values[part.name]},{part.text()}" if repeated else part.text()
    return values


def _from_json(body: bytes, charset: str, form: type[R], query: list[str]) -> Upload[R]:
    values = _parse_body(body, charset)
    images = [image for key in FILE_KEYS if (image := values.pop(key, None)) not in (None, "")]
    if len(images) > 1:
        raise TooManyFiles(f"The request has {len(images)} images.")
    params = validate_model(form, values)
    if not images:
        raise EmptyInput("The request has no image.", hint=_missing_image_hint(values))
    if not isinstance(images[0], str):
        raise InvalidBase64("The image is not a string.")
    return Upload(decode_base64(images[0]), params, ignored_keys(values, query, form))


def _missing_image_hint(values: Iterable[str]) -> str | None:
    key = next((key for key in list(values)[:20] if similar_name(key, FILE_KEYS) is not None), None)
    return None if key is None else f"The key '{key}' is unknown. Send the image in 'image'."


def ignored_keys(sent: Iterable[str], query: Iterable[str], form: type[OcrRequest]) -> tuple[ResultWarning, ...]:
    """Return warnings about keys of the body and the query string that resemble parameters of the request."""
    return ignored_key_warnings(sent, query, parameter_names(form) | set(FILE_KEYS))


def validate_model(form: type[M], values: Mapping[str, Any]) -> M:
    """Validate `values` with the pydantic model `form`. Raises RequestValidationError."""
    try:
        return form.model_validate(values)
    except ValidationError as e:
        errors = e.errors(include_input=False, include_url=False, include_context=False)
        raise RequestValidationError(errors, body=values) from e


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
