"""One camera connection: its frames from arrival to reply."""

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
    """A decoded frame, and its difference from the frame that was read last."""

    frame: Frame
    data: bytes = b""
    scene: SceneFingerprint | None = None
    change: ChangeMask | None = None


class CameraConnection:
    """One connection. A newer frame replaces a waiting one: at most one waits for comparison and one for recognition."""

    def __init__(
        self,
        cameras: CameraService,
        session: CameraSession,
        send: Callable[[FrameReply], None],
        device: str | None,
        fair_key: str,
    ) -> None:
        self.session = session
        self._cameras = cameras
        self._send = send
        self._device = device
        self._fair_key = fair_key
        self._arrived: _ComparedFrame | None = None  # waits for comparison; newer than `waiting`
        self._comparing = False  # a frame that is newer than `waiting`
        self.waiting: _ComparedFrame | None = None  # waits for recognition
        self._unanswered: set[Frame] = set()  # counted in the frame budget
        self._closed = False

    def configure(self, task: Task | None = None, rate: float | None = None) -> None:
        """Set the task for the following frames, and the frame rate per second (limited by the setting)."""
        if task is not None:
            self.session.set_task(task)
        if rate is not None:
            self.session.rate_limiter.rate = min(rate, self._cameras.settings.rate)

    def submit(self, frame: Frame) -> None:
        """Accept a frame. It gets exactly one FrameResult, FrameSkipped or FrameFailed, unless the connection closes first."""
        if self._cameras.draining:
            self._send(FrameFailed(frame.id, BackendUnavailable("The appliance is shutting down.")))
        elif not self.session.rate_limiter.accept(frame.timestamp, self._cameras.clock()):
            self._send(FrameSkipped(frame.id, SkipReason.SAMPLED))
        elif not self._acquire(frame):
            self._send(FrameSkipped(frame.id, SkipReason.NO_ROOM))
        elif self.waiting is None or self._arrived is not None or self._comparing:
            self._arrive(_ComparedFrame(frame))
        else:  # the backend is slower than the camera: compare a frame in its turn only, since most are superseded before
            self._supersede(self.waiting)
            self.waiting = _ComparedFrame(frame)

    def _acquire(self, frame: Frame) -> bool:
        """Count the frame's memory; if the budget is used up, drop older frames of this camera. False if it does not fit."""
        memory, holder = self._cameras.frame_budget, self._fair_key
        if not memory.acquire(frame, holder):
            self._supersede(self._arrived)
            self._supersede(self.waiting)
            self._arrived = self.waiting = None
            if not memory.acquire(frame, holder):
                return False
        self._unanswered.add(frame)
        return True

    def _end(self, frame: Frame, reply: FrameReply) -> None:
        """Send the only reply to a frame."""
        if frame in self._unanswered:  # not after the connection has closed
            self._unanswered.remove(frame)
            self._cameras.frame_budget.release([frame], self._fair_key)
        self._send(reply)

    async def close(self) -> None:
        """Cancel the work for this connection and release its memory."""
        self._closed = True
        await self._cameras.compare_queue.cancel(self._compare)
        await self._cameras.read_queue.cancel(self._read)
        self._arrived = self.waiting = None
        self._cameras.frame_budget.release(self._unanswered, self._fair_key)
        self._unanswered.clear()
        self._cameras.sessions.leave(self.session)

    def _arrive(self, seen: _ComparedFrame) -> None:
        if self._closed:  # recognition ended during the close
            return
        self._supersede(self._arrived)
        self._arrived = seen
        self._cameras.compare_queue.enqueue(self._compare, self._fair_key)

    def _supersede(self, seen: _ComparedFrame | None) -> None:
        if seen is not None:
            self._end(seen.frame, FrameSkipped(seen.frame.id, SkipReason.SUPERSEDED))

    async def _compare(self) -> None:
        """Decode the frame and compare it with the one that was read last; reply, or queue it for recognition."""
        seen, self._arrived = self._arrived, None
        if seen is None:
            return
        self._comparing = True
        try:
            seen = await self._compared(seen)
        except Exception as e:  # noqa: BLE001 -- reported to the camera, and logged if unexpected
            self._end(seen.frame, FrameFailed(seen.frame.id, _client_error(e)))
            return
        finally:
            self._comparing = False
        self._supersede(self.waiting)
        self.waiting = None
        if not self._unchanged(seen):
            self.waiting = seen
            self._cameras.read_queue.enqueue(self._read, self._fair_key)

    def _unchanged(self, seen: _ComparedFrame) -> bool:
        """If the frame shows what was read last, reply with that result. Return whether it does."""
        if self.session.last is None or seen.change is None or seen.change:
            return False
        self._end(seen.frame, FrameResult(seen.frame.id, self.session.last, unchanged=True))
        return True

    async def _compared(self, seen: _ComparedFrame) -> _ComparedFrame:
        if not seen.data:
            seen = await self._cameras.thread(partial(self._decoded, seen.frame))
        while True:  # a recognition may end in the meantime
            before = self.session.scene
            if before is None or seen.scene is None:
                return replace(seen, change=None)
            change = await self._cameras.thread(partial(diff, before, seen.scene))
            if before is self.session.scene:
                return replace(seen, change=change)

    def _decoded(self, frame: Frame) -> _ComparedFrame:
        data = frame.load()
        cameras = self._cameras
        seen = cameras.pipeline.decoding.decoder.load_gray_thumbnail(data, LONG_SIDE, cameras.settings.max_bytes)
        return _ComparedFrame(frame, data, None if seen is None else fingerprint(*seen))

    async def _read(self) -> None:
        """Recognise the waiting frame."""
        seen, self.waiting = self.waiting, None
        if seen is None:
            return
        try:
            if not seen.data:
                seen = await self._compared(seen)
            if not self._unchanged(seen):
                self._end(seen.frame, await self._answer(seen, self.session.task))
        except Exception as e:  # noqa: BLE001 -- reported to the camera, and logged if unexpected
            self._end(seen.frame, FrameFailed(seen.frame.id, _client_error(e)))
        later, self.waiting = self.waiting, None
        if later is None:
            return
        if self._arrived is None and not self._comparing:
            self._arrive(later)  # compare it with the frame that was just read
        else:
            self._supersede(later)

    async def _answer(self, seen: _ComparedFrame, task: Task) -> FrameResult:
        result = await self._result(seen, task)
        raw: dict[str, Any] | None = None
        session = self.session
        if task is session.task:
            result, raw = await asyncio.to_thread(session.voter.vote, result, task, seen.change)  # validates the schema again
            if task is not session.task:  # the task has changed in the meantime: discard the votes
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
                    self._send(FrameDelta(seen.frame.id, part.text))
        raise BackendFailed("The backend returned no result.")


def _kind(reply: FrameResult | FrameSkipped | FrameFailed) -> str:
    if isinstance(reply, FrameResult):
        return "unchanged" if reply.unchanged else "read"
    return "skipped" if isinstance(reply, FrameSkipped) else "failed"


def _client_error(error: Exception) -> HunyuanOcrError:
    if isinstance(error, HunyuanOcrError):
        return error
    log.error("Unexpected error while a frame was processed.", exc_info=error)
    return from_unexpected(error)
