"""How many bytes of frames there may be at a time, of all cameras together."""

from __future__ import annotations

from collections.abc import Iterable

from hunyuanocr.services.camera.messages import Frame

_BYTES = 512 * 1024 * 1024  # three frames of 80 KB of each of 2,000 cameras
_FRAMES = 4  # of the largest size there is always room for


class FrameMemory:
    """Frames from their arrival to their answer, or to the end of their connection."""

    def __init__(self, largest: int) -> None:
        self.most = max(_BYTES, _FRAMES * largest)
        self.held = 0

    def hold(self, frame: Frame) -> bool:
        """Count a frame; False, and it is not counted, where there is no room."""
        if self.held + frame.size > self.most:
            return False
        self.held += frame.size
        return True

    def give(self, frames: Iterable[Frame]) -> None:
        """Count them no more."""
        self.held -= sum(frame.size for frame in frames)
