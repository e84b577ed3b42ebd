"""What comes from a camera and what goes back to it, before either is a message on a wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.pipeline.request import random_id
from hunyuanocr.types import Result

FrameId = str | int | float


class SkipReason(StrEnum):
    """Why a frame was not read."""

    SAMPLED = "sampled"  # it came sooner after the last one than the rate allows
    SUPERSEDED = "superseded"  # a newer frame came before its turn
    NO_ROOM = "no_room"  # all cameras together have sent more than the machine has room for


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a camera. `id` is echoed; `timestamp` is in seconds, of the camera's clock; `load` gives the bytes, in a
    thread and only if they are wanted. `size` is what it takes in memory, in bytes.
    """

    id: FrameId
    timestamp: float | None
    load: Callable[[], bytes]
    size: int = 0


@dataclass(frozen=True)
class FrameResult:
    """A frame was read, or shows what was read last (`unchanged`). `raw` has the fields as they were read, where the answer's
    are steadied: key → value as printed.
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
    request_id: str = field(default_factory=random_id)


@dataclass(frozen=True)
class FrameDelta:
    """A piece of text while a frame is read; its answer follows."""

    frame: FrameId
    text: str


FrameReply = FrameResult | FrameSkipped | FrameFailed | FrameDelta
