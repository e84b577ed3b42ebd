"""One connection's frames on their way: sampled, looked at, read when it is their turn, answered once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from hunyuanocr.config import Settings
from hunyuanocr.errors import HunyuanOcrError, ReaderFailed, ReaderUnavailable, TooManyCameras, from_unexpected
from hunyuanocr.pipeline import Pipeline, Request
from hunyuanocr.services.camera.memory import FrameMemory
from hunyuanocr.services.camera.messages import Answer, Failed, Frame, Partial, Reply, Skipped, SkipReason
from hunyuanocr.services.camera.scene import LONG_SIDE, Change, Scene, change, scene_of
from hunyuanocr.services.camera.scheduler import Turns
from hunyuanocr.services.camera.sessions import Session, Sessions
from hunyuanocr.services.recording import Recorder
from hunyuanocr.types import Result, Task, TextDelta

T = TypeVar("T")
log = logging.getLogger(__name__)
_LOOKERS = 2  # threads that decode and compare frames
_AHEAD = 1  # turns more than readings: the next frame is decoded and compared while the last one is read


class Cameras:
    """What all cameras of the process share: the pipeline, the turns, the sessions, the threads that look at frames."""

    def __init__(
        self, pipeline: Pipeline, settings: Settings, recorder: Recorder, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.pipeline = pipeline
        self.recorder = recorder
        self.settings = settings.camera
        self.clock = clock
        self.sessions = Sessions(settings.camera, clock)
        self.memory = FrameMemory(settings.camera.max_bytes)
        self.looks = Turns(_LOOKERS)
        self.reads = Turns(pipeline.readings + _AHEAD)
        self.leaving = False  # no frame is taken any more
        self.counts = {"read": 0, "unchanged": 0, "skipped": 0, "failed": 0}  # frames that were answered
        self._threads = ThreadPoolExecutor(_LOOKERS, thread_name_prefix="camera")

    def open(
        self, owner: str, session: str | None, tell: Callable[[Reply], None], device: str | None = None, *, client: str = ""
    ) -> Camera:
        """A connection begins. `tell` gets its replies, in the event loop, and must not block. Raises TooManyCameras.

        `client` is among whose cameras its turns are counted; left out, among its owner's.
        """
        if self.sessions.open >= self.settings.connections:
            raise TooManyCameras(f"{self.sessions.open} cameras are connected.", retry_after=self.settings.keep_s)
        self.reads.places = self.pipeline.readings + _AHEAD  # another model may read more at a time

        def counted(reply: Reply) -> None:
            if not isinstance(reply, Partial):
                self.counts[_kind(reply)] += 1
            tell(reply)

        return Camera(self, self.sessions.enter(owner, session), counted, device, client or owner)

    async def thread(self, work: Callable[[], T]) -> T:
        """Blocking work beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Give the threads back. May be called twice."""
        self._threads.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, eq=False)
class _Seen:
    """A frame that has been looked at: its bytes and strokes, and what is different from the one that was read last."""

    frame: Frame
    data: bytes = b""
    scene: Scene | None = None
    change: Change | None = None


class Camera:
    """One connection. A frame that waits gives way to a newer one: at most one waits to be looked at, and one to be read."""

    def __init__(
        self, cameras: Cameras, session: Session, tell: Callable[[Reply], None], device: str | None, fair_key: str
    ) -> None:
        self.session = session
        self._cameras = cameras
        self._tell = tell
        self._device = device
        self._fair_key = fair_key
        self._arrived: _Seen | None = None  # newer than the one that waits
        self._looking = False  # at one that is newer than the one that waits
        self._waiting: _Seen | None = None
        self._held: set[Frame] = set()  # which have room, and no answer yet
        self._closed = False

    def configure(self, task: Task | None = None, rate: float | None = None) -> None:
        """What is asked of the frames from now on, and how many a second are looked at: at most the setting."""
        if task is not None:
            self.session.ask(task)
        if rate is not None:
            self.session.sampler.rate = min(rate, self._cameras.settings.rate)

    def offer(self, frame: Frame) -> None:
        """A frame has come. It is answered once, by an Answer, a Skipped or a Failed, unless the connection ends first."""
        if self._cameras.leaving:
            self._tell(Failed(frame.id, ReaderUnavailable("The appliance is shutting down.")))
        elif not self.session.sampler.takes(frame.timestamp, self._cameras.clock()):
            self._tell(Skipped(frame.id, SkipReason.SAMPLED))
        elif not self._has_room(frame):
            self._tell(Skipped(frame.id, SkipReason.NO_ROOM))
        elif self._waiting is None or self._arrived is not None or self._looking:
            self._arrive(_Seen(frame))
        else:  # where the reader cannot keep up, a frame is looked at when its turn comes: most of them never are
            self._supersede(self._waiting)
            self._waiting = _Seen(frame)

    def _has_room(self, frame: Frame) -> bool:
        """Count its memory. Where there is none left, this camera's older frames give way to it."""
        memory, holder = self._cameras.memory, self._fair_key
        if not memory.hold(frame, holder):
            self._supersede(self._arrived)
            self._supersede(self._waiting)
            self._arrived = self._waiting = None
            if not memory.hold(frame, holder):
                return False
        self._held.add(frame)
        return True

    def _end(self, frame: Frame, reply: Reply) -> None:
        """A frame's one answer."""
        if frame in self._held:  # not those of a connection that has ended
            self._held.remove(frame)
            self._cameras.memory.give([frame], self._fair_key)
        self._tell(reply)

    async def close(self) -> None:
        """The connection has ended; what is done for it ends as well."""
        self._closed = True
        await self._cameras.looks.leave(self._look)
        await self._cameras.reads.leave(self._read)
        self._arrived = self._waiting = None
        self._cameras.memory.give(self._held, self._fair_key)
        self._held.clear()
        self._cameras.sessions.leave(self.session)

    def _arrive(self, seen: _Seen) -> None:
        if self._closed:  # a reading ended while the connection did
            return
        self._supersede(self._arrived)
        self._arrived = seen
        self._cameras.looks.join(self._look, self._fair_key)

    def _supersede(self, seen: _Seen | None) -> None:
        if seen is not None:
            self._end(seen.frame, Skipped(seen.frame.id, SkipReason.SUPERSEDED))

    async def _look(self) -> None:
        """Decode the frame and compare it with the one that was read last: it is answered, or waits to be read."""
        seen, self._arrived = self._arrived, None
        if seen is None:
            return
        self._looking = True
        try:
            seen = await self._compared(seen)
        except Exception as e:  # noqa: BLE001 -- told to the camera, and to the log if it is ours
            self._end(seen.frame, Failed(seen.frame.id, _told(e)))
            return
        finally:
            self._looking = False
        self._supersede(self._waiting)
        self._waiting = None
        if not self._unchanged(seen):
            self._waiting = seen
            self._cameras.reads.join(self._read, self._fair_key)

    def _unchanged(self, seen: _Seen) -> bool:
        """Whether it shows what was read last, and is answered with that."""
        if self.session.last is None or seen.change is None or seen.change:
            return False
        self._end(seen.frame, Answer(seen.frame.id, self.session.last, unchanged=True))
        return True

    async def _compared(self, seen: _Seen) -> _Seen:
        if not seen.data:
            seen = await self._cameras.thread(partial(self._decoded, seen.frame))
        while True:  # a reading may end meanwhile
            before = self.session.scene
            if before is None or seen.scene is None:
                return replace(seen, change=None)
            found = await self._cameras.thread(partial(change, before, seen.scene))
            if before is self.session.scene:
                return replace(seen, change=found)

    def _decoded(self, frame: Frame) -> _Seen:
        data = frame.load()
        cameras = self._cameras
        seen = cameras.pipeline.decoding.decoder.glance(data, LONG_SIDE, cameras.settings.max_bytes)
        return _Seen(frame, data, None if seen is None else scene_of(*seen))

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
            self._end(seen.frame, Failed(seen.frame.id, _told(e)))
        later, self._waiting = self._waiting, None
        if later is None:
            return
        if self._arrived is None and not self._looking:
            self._arrive(later)  # what has been read meanwhile may be what it shows
        else:
            self._supersede(later)

    async def _answer(self, seen: _Seen, task: Task) -> Answer:
        result = await self._result(seen, task)
        raw: dict[str, Any] | None = None
        session = self.session
        if task is session.task:
            result, raw = await asyncio.to_thread(session.steadier.steady, result, task, seen.change)  # a schema is fitted again
            if task is not session.task:  # asked for something else meanwhile: its votes are not for this
                session.steadier.forget()
        result = await self._cameras.recorder.record(
            result, owner=session.owner, source="ws", instruction=task.instruction, device=self._device, image=seen.data
        )
        if task is session.task:
            session.scene, session.last = seen.scene, result
        return Answer(seen.frame.id, result, raw=raw)

    async def _result(self, seen: _Seen, task: Task) -> Result:
        request = Request(seen.data, task, owner=self.session.owner, client=self._fair_key)
        async with aclosing(self._cameras.pipeline.stream(request)) as parts:
            async for part in parts:
                if isinstance(part, Result):
                    return part
                if isinstance(part, TextDelta):
                    self._tell(Partial(seen.frame.id, part.text))
        raise ReaderFailed("The reader ended without an answer.")


def _kind(reply: Answer | Skipped | Failed) -> str:
    if isinstance(reply, Answer):
        return "unchanged" if reply.unchanged else "read"
    return "skipped" if isinstance(reply, Skipped) else "failed"


def _told(error: Exception) -> HunyuanOcrError:
    if isinstance(error, HunyuanOcrError):
        return error
    log.error("A frame could not be served.", exc_info=error)
    return from_unexpected(error)
