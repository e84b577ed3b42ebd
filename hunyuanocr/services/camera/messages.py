"""Messages from and to a camera, independent of the protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.ids import new_id
from hunyuanocr.types import Result

FrameId = str | int | float


class SkipReason(StrEnum):
    """Reason why a frame was not read."""

    SAMPLED = "sampled"  # exceeds the frame rate
    SUPERSEDED = "superseded"  # a newer frame arrived before its turn
    NO_ROOM = "no_room"  # the memory for frames of all cameras is used up


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a camera.

    `id` is echoed in the reply; `timestamp`: seconds by the camera's clock; `load` returns the bytes, is called in a thread and
    only if needed; `size`: memory in bytes.
    """

    id: FrameId
    timestamp: float | None
    load: Callable[[], bytes]
    size: int = 0


@dataclass(frozen=True)
class FrameResult:
    """A frame was read, or shows what was read last (`unchanged`).

    `raw` maps keys to values as read from this frame, if voting changed the fields of the result.
    """

    frame: FrameId
    result: Result
    unchanged: bool = False
    raw: dict[str, Any] | None = None


@dataclass(frozen=True)
class FrameSkipped:
    """A frame was not read."""

    frame: FrameId
    reason: SkipReason


@dataclass(frozen=True)
class FrameFailed:
    """A frame could not be read."""

    frame: FrameId | None
    error: HunyuanOcrError
    request_id: str = field(default_factory=new_id)


@dataclass(frozen=True)
class FrameDelta:
    """A piece of text while a frame is read; the reply follows."""

    frame: FrameId
    text: str


FrameReply = FrameResult | FrameSkipped | FrameFailed | FrameDelta
