"""One camera: its frames, from their arrival to the answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hunyuanocr.errors import BackendFailed, BackendUnavailable, HunyuanOcrError, from_unexpected
from hunyuanocr.pipeline import Request
from hunyuanocr.services.camera.change_detection import LONG_SIDE, ChangeMask, SceneFingerprint, diff, fingerprint
from hunyuanocr.services.camera.messages import Frame, FrameDelta, FrameFailed, FrameReply, FrameResult, FrameSkipped, SkipReason
from hunyuanocr.services.camera.sessions import CameraSession
from hunyuanocr.types import Result, Task, TextDelta

if TYPE_CHECKING:
    from hunyuanocr.services.camera.service import CameraService


log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _ComparedFrame:
    """A frame that has been looked at: its bytes and strokes, and what is different from the one that was read last."""

    frame: Frame
    data: bytes = b""
    scene: SceneFingerprint | None = None
    change: ChangeMask | None = None


class CameraConnection:
    """One connection. A frame that waits gives way to a newer one: at most one waits to be looked at, and one to be read."""

    def __init__(
        self,
        cameras: CameraService,
        session: CameraSession,
        tell: Callable[[FrameReply], None],
        device: str | None,
        fair_key: str,
    ) -> None:
        self.session = session
        self._cameras = cameras
        self._tell = tell
        self._device = device
        self._fair_key = fair_key
        self._arrived: _ComparedFrame | None = None  # newer than the one that waits
        self._looking = False  # at one that is newer than the one that waits
        self._waiting: _ComparedFrame | None = None
        self._held: set[Frame] = set()  # which have room, and no answer yet
        self._closed = False

    def configure(self, task: Task | None = None, rate: float | None = None) -> None:
        """What is asked of the frames from now on, and how many a second are looked at: at most the setting."""
        if task is not None:
            self.session.set_task(task)
        if rate is not None:
            self.session.rate_limiter.rate = min(rate, self._cameras.settings.rate)

    def submit(self, frame: Frame) -> None:
        """A frame has come. It is answered once, by an Answer, a Skipped or a Failed, unless the connection ends first."""
        if self._cameras.draining:
            self._tell(FrameFailed(frame.id, BackendUnavailable("The appliance is shutting down.")))
        elif not self.session.rate_limiter.accept(frame.timestamp, self._cameras.clock()):
            self._tell(FrameSkipped(frame.id, SkipReason.SAMPLED))
        elif not self._has_room(frame):
            self._tell(FrameSkipped(frame.id, SkipReason.NO_ROOM))
        elif self._waiting is None or self._arrived is not None or self._looking:
            self._arrive(_ComparedFrame(frame))
        else:  # where the reader cannot keep up, a frame is looked at when its turn comes: most of them never are
            self._supersede(self._waiting)
            self._waiting = _ComparedFrame(frame)

    def _has_room(self, frame: Frame) -> bool:
        """Count its memory. Where there is none left, this camera's older frames give way to it."""
        memory, holder = self._cameras.frame_budget, self._fair_key
        if not memory.acquire(frame, holder):
            self._supersede(self._arrived)
            self._supersede(self._waiting)
            self._arrived = self._waiting = None
            if not memory.acquire(frame, holder):
                return False
        self._held.add(frame)
        return True

    def _end(self, frame: Frame, reply: FrameReply) -> None:
        """A frame's one answer."""
        if frame in self._held:  # not those of a connection that has ended
            self._held.remove(frame)
            self._cameras.frame_budget.release([frame], self._fair_key)
        self._tell(reply)

    async def close(self) -> None:
        """The connection has ended; what is done for it ends as well."""
        self._closed = True
        await self._cameras.compare_queue.cancel(self._compare)
        await self._cameras.read_queue.cancel(self._read)
        self._arrived = self._waiting = None
        self._cameras.frame_budget.release(self._held, self._fair_key)
        self._held.clear()
        self._cameras.sessions.leave(self.session)

    def _arrive(self, seen: _ComparedFrame) -> None:
        if self._closed:  # a reading ended while the connection did
            return
        self._supersede(self._arrived)
        self._arrived = seen
        self._cameras.compare_queue.enqueue(self._compare, self._fair_key)

    def _supersede(self, seen: _ComparedFrame | None) -> None:
        if seen is not None:
            self._end(seen.frame, FrameSkipped(seen.frame.id, SkipReason.SUPERSEDED))

    async def _compare(self) -> None:
        """Decode the frame and compare it with the one that was read last: it is answered, or waits to be read."""
        seen, self._arrived = self._arrived, None
        if seen is None:
            return
        self._looking = True
        try:
            seen = await self._compared(seen)
        except Exception as e:  # noqa: BLE001 -- told to the camera, and to the log if it is ours
            self._end(seen.frame, FrameFailed(seen.frame.id, _told(e)))
            return
        finally:
            self._looking = False
        self._supersede(self._waiting)
        self._waiting = None
        if not self._unchanged(seen):
            self._waiting = seen
            self._cameras.read_queue.enqueue(self._read, self._fair_key)

    def _unchanged(self, seen: _ComparedFrame) -> bool:
        """Whether it shows what was read last, and is answered with that."""
        if self.session.last is None or seen.change is None or seen.change:
            return False
        self._end(seen.frame, FrameResult(seen.frame.id, self.session.last, unchanged=True))
        return True

    async def _compared(self, seen: _ComparedFrame) -> _ComparedFrame:
        if not seen.data:
            seen = await self._cameras.thread(partial(self._decoded, seen.frame))
        while True:  # a reading may end meanwhile
            before = self.session.scene
            if before is None or seen.scene is None:
                return replace(seen, change=None)
            found = await self._cameras.thread(partial(diff, before, seen.scene))
            if before is self.session.scene:
                return replace(seen, change=found)

    def _decoded(self, frame: Frame) -> _ComparedFrame:
        data = frame.load()
        cameras = self._cameras
        seen = cameras.pipeline.decoding.decoder.glance(data, LONG_SIDE, cameras.settings.max_bytes)
        return _ComparedFrame(frame, data, None if seen is None else fingerprint(*seen))

    async def _read(self) -> None:
        """Its turn: have the frame read that waits."""
        seen, self._waiting = self._waiting, None
        if seen is None:
            return
        try:
            if not seen.data:
                seen = await self._compared(seen)
            if not self._unchanged(seen):
                self._end(seen.frame, await self._answer(seen, self.session.task))
        except Exception as e:  # noqa: BLE001 -- told to the camera, and to the log if it is ours
            self._end(seen.frame, FrameFailed(seen.frame.id, _told(e)))
        later, self._waiting = self._waiting, None
        if later is None:
            return
        if self._arrived is None and not self._looking:
            self._arrive(later)  # what has been read meanwhile may be what it shows
        else:
            self._supersede(later)

    async def _answer(self, seen: _ComparedFrame, task: Task) -> FrameResult:
        result = await self._result(seen, task)
        raw: dict[str, Any] | None = None
        session = self.session
        if task is session.task:
            result, raw = await asyncio.to_thread(session.voter.vote, result, task, seen.change)  # a schema is fitted again
            if task is not session.task:  # asked for something else meanwhile: its votes are not for this
                session.voter.forget()
        result = await self._cameras.recorder.record(
            result, owner=session.owner, source="ws", instruction=task.instruction, device=self._device, image=seen.data
        )
        if task is session.task:
            session.scene, session.last = seen.scene, result
        return FrameResult(seen.frame.id, result, raw=raw)

    async def _result(self, seen: _ComparedFrame, task: Task) -> Result:
        request = Request(seen.data, task, owner=self.session.owner, client=self._fair_key)
        async with aclosing(self._cameras.pipeline.stream(request)) as parts:
            async for part in parts:
                if isinstance(part, Result):
                    return part
                if isinstance(part, TextDelta):
                    self._tell(FrameDelta(seen.frame.id, part.text))
        raise BackendFailed("The reader ended without an answer.")


def _kind(reply: FrameResult | FrameSkipped | FrameFailed) -> str:
    if isinstance(reply, FrameResult):
        return "unchanged" if reply.unchanged else "read"
    return "skipped" if isinstance(reply, FrameSkipped) else "failed"


def _told(error: Exception) -> HunyuanOcrError:
    if isinstance(error, HunyuanOcrError):
        return error
    log.error("A frame could not be served.", exc_info=error)
    return from_unexpected(error)
