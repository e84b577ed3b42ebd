"""State of a camera that survives reconnection: its task, its last result, its votes."""

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
    """State of one camera. `scene` is the frame of the result `last`; both are None until something was read."""

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
        """Set the task of the following frames; discard the results of another task."""
        if task != self.task:
            self.task, self.scene, self.last = task, None, None
            self.voter.forget()


class CameraSessionStore:
    """Store sessions with an id for `session_ttl_s` seconds after disconnection, at most as many as the connection limit.

    Clients choose the ids; an id is valid for its owner only.
    """

    def __init__(self, settings: CameraSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._sessions: dict[tuple[str, str], CameraSession] = {}
        self.open = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def enter(self, owner: str, id: str | None) -> CameraSession:
        """Return the session with this id in its last state, or a new one; a session without an id cannot be resumed."""
        self._purge()
        self.open += 1
        session = self._sessions.get((owner, id)) if id is not None else None
        if session is None:
            session = CameraSession(owner, id, FrameRateLimiter(self._settings.rate), FieldVoter(self._settings.vote_window))
            if id is not None:
                self._sessions[owner, id] = session
        else:
            session.resumed = True
            session.rate_limiter = FrameRateLimiter(self._settings.rate)  # the camera's clock may have been reset
        session.connections += 1
        return session

    def leave(self, session: CameraSession) -> None:
        """Record a disconnection. An old connection may end after a new one has started."""
        self.open -= 1
        session.connections -= 1
        session.expires_at = self._clock() + self._settings.session_ttl_s
        self._purge()

    def _purge(self) -> None:
        now = self._clock()
        idle = sorted((s.expires_at, key) for key, s in self._sessions.items() if not s.connections)
        excess = len(self._sessions) - self._settings.connections
        for n, (expires_at, key) in enumerate(idle):
            if expires_at <= now or n < excess:
                del self._sessions[key]
