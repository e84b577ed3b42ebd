"""The wire of cameras: messages in, as JSON or as a header and a picture; messages out, as JSON. See docs/streaming.md."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.errors import error_payload, validation_errors
from api.request_body import FILE_KEYS, decode_base64, parse_json_object
from api.schemas.camera import CameraOptions
from api.schemas.ocr import OcrResponse
from hunyuanocr.errors import BadRequest, EmptyInput, HunyuanOcrError, ImageTooLarge, InvalidBase64, InvalidValue
from hunyuanocr.services.camera import Frame, FrameDelta, FrameFailed, FrameReply, FrameResult, FrameSkipped
from hunyuanocr.services.camera.messages import FrameId

_FORM = 'Send {"frame_id": 1, "timestamp": 0.0, "image": "<base64>"}.'
_HEADER_BYTES = 4
_MAX_HEADER_LENGTH = 64 * 1024
TASK_KEYS = frozenset(["instruction", "prompt", "task", "fields", "schema", "language", "evidence"])
_OPTIONS = TASK_KEYS | {"rate", "session", "partial", "device"}


class ClientMessageType(StrEnum):
    """`type` of a client's message. It may be left out: one with a picture is a frame, one with a wish configures."""

    FRAME = "frame"
    CONFIGURE = "configure"
    PING = "ping"


class ServerMessageType(StrEnum):
    """`type` of a message of ours."""

    ANSWER = "answer"
    PARTIAL = "partial"
    CONFIGURED = "configured"
    PONG = "pong"
    ERROR = "error"


class Status(StrEnum):
    """`status` of an answer."""

    SUCCESS = "success"
    SKIPPED = "skipped"
    FAILED = "failed"


def parse_options(values: Mapping[str, Any]) -> CameraOptions:
    """Raises RequestValidationError."""
    try:
        return CameraOptions.model_validate({key: value for key, value in values.items() if key in _OPTIONS})
    except ValidationError as e:
        raise RequestValidationError(e.errors(include_input=False, include_url=False, include_context=False)) from e


def decode_message(message: str | bytes) -> dict[str, Any]:
    """A message as an object; the picture of a binary one is in `image`, as bytes. Raises BadRequest."""
    if isinstance(message, str):
        return parse_json_object(message, "message", _FORM)
    length = int.from_bytes(message[:_HEADER_BYTES], "big")
    end = _HEADER_BYTES + length
    if len(message) < end or length > _MAX_HEADER_LENGTH:
        raise BadRequest(
            "The binary message does not begin with a header.",
            hint="Send 4 bytes (big-endian) with the length of a JSON header, the header, and the picture.",
        )
    return parse_json_object(message[_HEADER_BYTES:end], "message", _FORM) | {"image": message[end:]}


def message_type(values: Mapping[str, Any]) -> ClientMessageType:
    """What a message is. Raises BadRequest."""
    given = values.get("type")
    if given is None:
        if any(key in values for key in FILE_KEYS) or "frame_id" in values:
            return ClientMessageType.FRAME
        if any(key in values for key in _OPTIONS):
            return ClientMessageType.CONFIGURE
    try:
        return ClientMessageType(str(given))
    except ValueError:
        raise BadRequest("The message is of no known type.", hint=f"The types are: {', '.join(ClientMessageType)}.") from None


def parse_frame_id(values: Mapping[str, Any]) -> FrameId:
    """A string, an integer or a number. Raises InvalidValue."""
    given = values.get("frame_id")
    if isinstance(given, bool) or not isinstance(given, (str, int, float)) or len(str(given)[:201]) > 200:
        raise InvalidValue("The frame has no frame_id.", hint="Give every frame a number or a short string; its answer has it.")
    return given


def parse_frame(values: Mapping[str, Any], max_bytes: int) -> Frame:
    """The frame of a message; its picture is decoded later. Raises InvalidValue, EmptyInput, InvalidBase64, ImageTooLarge."""
    number = parse_frame_id(values)
    picture = next((values[key] for key in FILE_KEYS if values.get(key) not in (None, "", b"")), None)
    if picture is None:
        raise EmptyInput("The frame has no picture.", hint="Put base64 of it into 'image', or send a binary message.")
    if not isinstance(picture, (str, bytes)):
        raise InvalidBase64("The picture is not a string.")
    if len(picture) > (max_bytes if isinstance(picture, bytes) else max_bytes * 4 // 3 + 1024):
        raise ImageTooLarge(f"The frame has more than {max_bytes} bytes.")
    load = partial(decode_base64, picture) if isinstance(picture, str) else partial(bytes, picture)
    return Frame(number, _seconds(values.get("timestamp")), load, len(picture))


def _seconds(given: Any) -> float | None:
    if given is None:
        return None
    try:
        seconds = math.nan if isinstance(given, (bool, str)) else float(given)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise InvalidValue("The timestamp is no number.", hint="Send seconds of the camera's clock, or leave it out.")
    return seconds


def encode_reply(reply: FrameReply | dict[str, Any]) -> str:
    """A message of ours."""
    if isinstance(reply, dict):
        return json.dumps(reply)
    if isinstance(reply, FrameDelta):
        return json.dumps({"type": ServerMessageType.PARTIAL, "frame_id": reply.frame, "text": reply.text})
    if isinstance(reply, FrameSkipped):
        return _answer(reply.frame, Status.SKIPPED, {"skipped": True, "reason": reply.reason})
    if isinstance(reply, FrameFailed):
        told = error_payload(reply.error, reply.request_id).model_dump(exclude_none=True)
        return _answer(reply.frame, Status.FAILED, {"error": told})
    more = {"unchanged": reply.unchanged} | ({} if reply.raw is None else {"raw": reply.raw})
    return f'{_answer(reply.frame, Status.SUCCESS, more)[:-1]}, "result": {encode_result(reply)}}}'


def encode_result(reply: FrameResult) -> str:
    """The Result as `/v1/ocr` answers it, in JSON."""
    return OcrResponse.of(reply.result).model_dump_json()


def _answer(frame: FrameId | None, status: Status, more: dict[str, Any]) -> str:
    kind = ServerMessageType.ERROR if frame is None else ServerMessageType.ANSWER
    return json.dumps({"type": kind, "frame_id": frame, "status": status} | more)


def to_invalid_value(error: RequestValidationError) -> HunyuanOcrError:
    """What is wrong with a message's values, as one of our errors."""
    where = "; ".join(f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in validation_errors(list(error.errors())))
    return InvalidValue(f"The message has values that cannot be used: {where}.")
