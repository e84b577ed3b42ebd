"""The request of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field

from hunyuanocr.ids import new_id
from hunyuanocr.types import Task


@dataclass(frozen=True)
class Request:
    """One image or document and its task. `owner` separates the cached results of different clients.

    `more` are further images; their pages follow those of `data`, as in one document. `client` separates clients that share an
    owner in fair queueing. `background` requests (jobs) come after interactive ones.
    """

    data: bytes
    task: Task
    owner: str = "local"
    id: str = field(default_factory=new_id)
    deadline_s: float | None = None  # None: the configured deadline
    more: tuple[bytes, ...] = ()
    client: str = ""
    background: bool = False

    @property
    def fair_key(self) -> str:
        """The key of fair queueing."""
        return self.client or self.owner
