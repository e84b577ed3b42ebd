"""The witness: a second reader that looks at the pages while a language model writes, so that its values are found on them.

A language model says what stands on a page, not where, and may say what stands nowhere. The witness's lines have boxes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from hunyuanocr.backends.base import Backend, BackendName
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.pipeline.reading import read
from hunyuanocr.pipeline.requests import Deadline
from hunyuanocr.types import Evidence, Notice, Page, Reading, Task, TaskKind

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Testimony:
    """What the witness read; None and a notice where it could not."""

    reading: Reading | None = None
    notices: tuple[Notice, ...] = ()


def wanted(task: Task, backend: Backend) -> bool:
    """Whether the answer needs a witness: fields by a language model, which is not asked to look for them itself."""
    return backend.name is not BackendName.PPOCR and task.kind is TaskKind.EXTRACT and task.evidence is Evidence.FAST


async def testify(witness: Backend | None, pages: Sequence[Page], deadline: Deadline) -> Testimony:
    """Have the witness read the pages. Its failure is a notice, never an error: the answer stands, its proof is missing."""
    if witness is None:
        return _silent("there is no second reader here.")
    try:
        async with aclosing(read(witness, pages, Task(TaskKind.SPOT), deadline.earlier())) as parts:
            found = [part async for part in parts if isinstance(part, Reading)]
    except HunyuanOcrError as e:
        log.warning("The witness failed: %s", e, exc_info=e)
        return _silent("the second reader failed.")
    return Testimony(found[-1]) if found else _silent("the second reader gave no answer.")


def unproved(notices: Sequence[Notice]) -> bool:
    """Whether an answer lacks the proof that was wanted."""
    return any(n.code == "no_evidence" for n in notices)


def _silent(why: str) -> Testimony:
    return Testimony(notices=(Notice("no_evidence", f"The values were not looked up on the page: {why}"),))


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run the work as a task while the block runs. However the block is left, the work is cancelled and its end waited for."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait((task,))
