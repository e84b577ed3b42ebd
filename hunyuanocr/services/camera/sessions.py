"""What outlives a camera's connection for a while: what it asks for, its last answer, its votes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hunyuanocr.config import CameraSettings
from hunyuanocr.services.camera.change_detection import SceneFingerprint
from hunyuanocr.services.camera.rate_limit import FrameRateLimiter
from hunyuanocr.services.camera.voting import FieldVoter
from hunyuanocr.types import Result, Task, TaskKind


@dataclass(eq=False)
class CameraSession:
    """One camera's memory. `scene` is what `last` was read from; both are None until something was read."""

    owner: str
    id: str | None
    rate_limiter: FrameRateLimiter
    voter: FieldVoter
    task: Task = field(default_factory=lambda: Task(TaskKind.READ))
    scene: SceneFingerprint | None = None
    last: Result | None = None
    resumed: bool = False
    connections: int = 0
    expires_at: float = 0.0

    def set_task(self, task: Task) -> None:
        """From now on this is asked of every frame; what was read for something else is forgotten."""
        if task != self.task:
            self.task, self.scene, self.last = task, None, None
            self.voter.forget()


class CameraSessionStore:
    """Keeps sessions that have an id for `session_ttl_s` seconds after their connection ended, as many as there may be
    connections. Clients choose their ids; an id means something to its owner only.
    """

    def __init__(self, settings: CameraSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._kept: dict[tuple[str, str], CameraSession] = {}
        self.open = 0

    def __len__(self) -> int:
        return len(self._kept)

    def enter(self, owner: str, id: str | None) -> CameraSession:
        """The session of this name as its last connection left it, or a new one; without a name, nobody comes back to it."""
        self._purge()
        self.open += 1
        session = self._kept.get((owner, id)) if id is not None else None
        if session is None:
            session = CameraSession(owner, id, FrameRateLimiter(self._settings.rate), FieldVoter(self._settings.vote_window))
            if id is not None:
                self._kept[owner, id] = session
        else:
            session.resumed = True
            session.rate_limiter = FrameRateLimiter(self._settings.rate)  # the camera's clock may have started anew
        session.connections += 1
        return session

    def leave(self, session: CameraSession) -> None:
        """A connection has ended. An old one may end after the new one has begun."""
        self.open -= 1
        session.connections -= 1
        session.expires_at = self._clock() + self._settings.session_ttl_s
        self._purge()

    def _purge(self) -> None:
        now = self._clock()
        idle = sorted((s.expires_at, key) for key, s in self._kept.items() if not s.connections)
        too_many = len(self._kept) - self._settings.connections
        for n, (until, key) in enumerate(idle):
            if until <= now or n < too_many:
                del self._kept[key]
