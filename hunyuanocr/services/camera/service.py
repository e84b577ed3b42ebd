"""The camera service: state that all camera connections of the process share."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hunyuanocr.config import Settings
from hunyuanocr.errors import TooManyCameras
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.camera.connection import CameraConnection, _kind
from hunyuanocr.services.camera.frame_budget import FrameBudget
from hunyuanocr.services.camera.messages import FrameDelta, FrameReply
from hunyuanocr.services.camera.scheduler import TurnScheduler
from hunyuanocr.services.camera.sessions import CameraSessionStore
from hunyuanocr.services.recorder import Recorder

T = TypeVar("T")
log = logging.getLogger(__name__)
_COMPARE_THREADS = 2  # threads that decode and compare frames
_AHEAD = 1  # turns in addition to the concurrency: the next frame is decoded and compared while the last one is read


class CameraService:
    """Shared by all cameras of the process: pipeline, schedulers, sessions, and threads for comparison."""

    def __init__(
        self, pipeline: Pipeline, settings: Settings, recorder: Recorder, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.pipeline = pipeline
        self.recorder = recorder
        self.settings = settings.camera
        self.clock = clock
        self.sessions = CameraSessionStore(settings.camera, clock)
        self.frame_budget = FrameBudget(settings.camera.max_bytes)
        self.compare_queue = TurnScheduler(_COMPARE_THREADS)
        self.read_queue = TurnScheduler(pipeline.concurrency + _AHEAD)
        self.draining = False  # frames are no longer accepted
        self.counts = {"read": 0, "unchanged": 0, "skipped": 0, "failed": 0}  # frames by reply
        self._threads = ThreadPoolExecutor(_COMPARE_THREADS, thread_name_prefix="camera")

    def open(
        self, owner: str, session: str | None, send: Callable[[FrameReply], None], device: str | None = None, *, client: str = ""
    ) -> CameraConnection:
        """Open a connection. `send` receives its replies in the event loop and must not block. Raises TooManyCameras.

        `client` is the fairness key of its turns; default: the owner.
        """
        if self.sessions.open >= self.settings.connections:
            raise TooManyCameras(f"{self.sessions.open} cameras are connected.", retry_after=self.settings.session_ttl_s)
        self.read_queue.capacity = self.pipeline.concurrency + _AHEAD  # a model swap can change the concurrency

        def counted(reply: FrameReply) -> None:
            if not isinstance(reply, FrameDelta):
                self.counts[_kind(reply)] += 1
            send(reply)

        return CameraConnection(self, self.sessions.enter(owner, session), counted, device, client or owner)

    async def thread(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Shut down the threads. Can be called twice."""
        self._threads.shutdown(wait=False, cancel_futures=True)
