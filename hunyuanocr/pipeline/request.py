"""What goes into the pipeline, how long it may take, and how long each of its stages took."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar
from uuid import uuid4

from hunyuanocr.types import Task

T = TypeVar("T")


def random_id() -> str:
    """32 hexadecimal digits that nobody can guess."""
    return uuid4().hex


@dataclass(frozen=True)
class Request:
    """One picture or document and what is to be done with it. `owner` separates cached results of different clients.

    `more` are further pictures; their pages follow those of `data`, as if all were one document. `client` separates clients that
    share an owner where turns are shared out fairly. `background`: nobody stands and waits for it.
    """

    data: bytes
    task: Task
    owner: str = "local"
    id: str = field(default_factory=random_id)
    deadline_s: float | None = None  # None takes the setting
    more: tuple[bytes, ...] = ()
    client: str = ""
    background: bool = False

    @property
    def fair_key(self) -> str:
        """Among whose requests its turn is counted."""
        return self.client or self.owner
