"""Decode and encode the messages of camera connections. See docs/streaming.md for the protocol."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any

from fastapi.exceptions import RequestValidationError

from api.base64_images import decode_base64
from api.errors import error_payload
from api.request_body import FILE_KEYS, parse_json_object, validate_model
from api.schemas.camera import CameraOptions
from api.validation_errors import readable_errors
from hunyuanocr.errors import BadRequest, EmptyInput, HunyuanOcrError, ImageTooLarge, InvalidBase64, InvalidValue
from hunyuanocr.images import sniff
from hunyuanocr.result_schema import OcrResponse
from hunyuanocr.services.camera import Frame, FrameDelta, FrameFailed, FrameReply, FrameResult, FrameSkipped
from hunyuanocr.services.camera.messages import FrameId

_FRAME_HINT = 'Send {"frame_id": 1, "timestamp": 0.0, "image": "<base64>"}.'
_LENGTH_BYTES = 4
_MAX_HEADER_BYTES = 64 * 1024
_SNIFFED_BYTES = 4096
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{0,20})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_MAX_TIMESTAMP_LENGTH = 50
TASK_KEYS = frozenset(["instruction", "prompt", "task", "fields", "schema", "language", "evidence"])
OPTIONS = TASK_KEYS | {"rate", "session", "partial", "device"}


class ClientMessageType(StrEnum):
    """`type` of a client message. Without it, a message with an image is a frame, and one with options is `configure`."""

    FRAME = "frame"
    CONFIGURE = "configure"
    PING = "ping"
    AUTH = "auth"


class ServerMessageType(StrEnum):
    """`type` of a server message."""

    ANSWER = "answer"
    PARTIAL = "partial"
    CONFIGURED = "configured"
    PONG = "pong"
    AUTHENTICATED = "authenticated"
    ERROR = "error"


class Status(StrEnum):
    """`status` of a frame's response."""

    SUCCESS = "success"
    SKIPPED = "skipped"
    FAILED = "failed"


def parse_options(values: Mapping[str, Any]) -> CameraOptions:
    """Return the options of a message or query string. Raises RequestValidationError."""
    return validate_model(CameraOptions, {key: value for key, value in values.items() if key in OPTIONS})


def decode_message(message: str | bytes) -> dict[str, Any]:
    """Return a message as an object; `image` of a binary message holds bytes. Raises BadRequest.

    A binary message that is an image itself has no `frame_id`: its sender gets one from `CameraSocket`, which counts such frames.
    """
    if isinstance(message, str):
        return parse_json_object(message, "message", _FRAME_HINT)
    if message[_LENGTH_BYTES : _LENGTH_BYTES + 1] != b"{" and sniff(message[:_SNIFFED_BYTES]) is not None:
        return {"type": ClientMessageType.FRAME, "image": message}
    length = int.from_bytes(message[:_LENGTH_BYTES], "big")
    end = _LENGTH_BYTES + length
    if len(message) < end or length > _MAX_HEADER_BYTES:
        raise BadRequest(
            "The binary message has no valid header.",
            hint="Send an image, or the length of a JSON header in 4 bytes (big-endian), the header, and the image.",
        )
    return parse_json_object(message[_LENGTH_BYTES:end], "message", _FRAME_HINT) | {"image": message[end:]}


def message_type(values: Mapping[str, Any]) -> ClientMessageType:
    """Return the type of a message. Raises BadRequest for an unknown type."""
    value = values.get("type")
    if value is None:
        if any(key in values for key in FILE_KEYS) or "frame_id" in values:
            return ClientMessageType.FRAME
        if any(key in values for key in OPTIONS):
            return ClientMessageType.CONFIGURE
    try:
        return ClientMessageType(str(value))
    except ValueError:
        raise BadRequest("Unknown message type.", hint=f"Valid types: {', '.join(ClientMessageType)}.") from None


def parse_frame_id(values: Mapping[str, Any]) -> FrameId:
    """Return `frame_id`: a number, or a string of at most 200 characters. Raises InvalidValue."""
    value = values.get("frame_id")
    infinite = isinstance(value, float) and not math.isfinite(value)  # 1e999, which the response cannot repeat in JSON
    if infinite or isinstance(value, bool) or not isinstance(value, (str, int, float)) or len(str(value)[:201]) > 200:
        raise InvalidValue(
            "The frame has no valid frame_id.", hint="Send a number or a short string with each frame; the response repeats it."
        )
    return value


def parse_frame(values: Mapping[str, Any], max_bytes: int) -> Frame:
    """Return the frame of a message, without decoding its image.

    Raises InvalidValue, EmptyInput, InvalidBase64, ImageTooLarge.
    """
    frame_id = parse_frame_id(values)
    image = next((values[key] for key in FILE_KEYS if values.get(key) not in (None, "", b"")), None)
    if image is None:
        raise EmptyInput("The frame has no image.", hint="Send base64 in 'image', or a binary message.")
    if not isinstance(image, (str, bytes)):
        raise InvalidBase64("The image is not a string.")
    if len(image) > (max_bytes if isinstance(image, bytes) else max_bytes * 4 // 3 + 1024):
        raise ImageTooLarge(f"The frame exceeds {max_bytes} bytes.")
    load = partial(decode_base64, image) if isinstance(image, str) else partial(bytes, image)
    return Frame(frame_id, _parse_timestamp(values.get("timestamp")), load, len(image))


def _parse_timestamp(value: Any) -> float | None:
    """Return a timestamp in seconds: a number, a number as text, or a date and time of ISO 8601. Raises InvalidValue."""
    if value is None:
        return None
    try:
        seconds = math.nan if isinstance(value, bool) else _to_seconds(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise InvalidValue("The timestamp is not a number.", hint="Send seconds of the camera's clock, or omit it.")
    return seconds


def _to_seconds(text: str) -> float:
    if _NUMBER.fullmatch(text.strip()[:_MAX_TIMESTAMP_LENGTH]):
        return float(text)
    time = datetime.fromisoformat(text.strip())
    return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp()


def encode_reply(reply: FrameReply | dict[str, Any]) -> str:
    """Return a server message as JSON."""
    if isinstance(reply, dict):
        return json.dumps(reply)
    if isinstance(reply, FrameDelta):
        return json.dumps({"type": ServerMessageType.PARTIAL, "frame_id": reply.frame, "text": reply.text})
    if isinstance(reply, FrameSkipped):
        return _encode_response(reply.frame, Status.SKIPPED, {"skipped": True, "reason": reply.reason})
    if isinstance(reply, FrameFailed):
        payload = error_payload(reply.error, reply.request_id).model_dump(exclude_none=True)
        return _encode_response(reply.frame, Status.FAILED, {"error": payload})
    more = {"unchanged": reply.unchanged} | ({} if reply.raw is None else {"raw": reply.raw})
    return f'{_encode_response(reply.frame, Status.SUCCESS, more)[:-1]}, "result": {encode_result(reply)}}}'


def encode_result(reply: FrameResult) -> str:
    """Return the result as JSON, in the format of `/v1/ocr`."""
    return OcrResponse.of(reply.result).model_dump_json()


def _encode_response(frame: FrameId | None, status: Status, more: dict[str, Any]) -> str:
    type_ = ServerMessageType.ERROR if frame is None else ServerMessageType.ANSWER
    return json.dumps({"type": type_, "frame_id": frame, "status": status} | more)


def to_invalid_value(error: RequestValidationError) -> HunyuanOcrError:
    """Convert validation errors to InvalidValue, which names each location."""
    locations = "; ".join(f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in readable_errors(error.errors(), error.body))
    return InvalidValue(f"Invalid message parameters: {locations}.")
