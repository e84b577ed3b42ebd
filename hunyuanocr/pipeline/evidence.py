"""The witness: a second reader that looks at the pages while a language model writes, so that its values are found on them.

A language model says what stands on a page, not where, and may say what stands nowhere. The witness's lines have boxes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from hunyuanocr.backends.base import Backend, BackendName
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.pipeline.backend_call import read_within_deadline
from hunyuanocr.pipeline.deadline import Deadline
from hunyuanocr.types import EvidenceMode, Page, Reading, ResultWarning, Task, TaskKind

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvidenceReading:
    """What the witness read; None and a notice where it could not."""

    reading: Reading | None = None
    notices: tuple[ResultWarning, ...] = ()


def needs_evidence(task: Task, backend: Backend) -> bool:
    """Whether the answer needs a witness: fields by a language model, which is not asked to look for them itself."""
    return backend.name is not BackendName.PPOCR and task.kind is TaskKind.EXTRACT and task.evidence is EvidenceMode.FAST


async def read_evidence(backend: Backend | None, pages: Sequence[Page], deadline: Deadline) -> EvidenceReading:
    """Have the witness read the pages. Its failure is a notice, never an error: the answer stands, its proof is missing."""
    if backend is None:
        return _silent("there is no second reader here.")
    try:
        async with aclosing(read_within_deadline(backend, pages, Task(TaskKind.SPOT), deadline.minus_reserve())) as parts:
            found = [part async for part in parts if isinstance(part, Reading)]
    except HunyuanOcrError as e:
        log.warning("The witness failed: %s", e, exc_info=e)
        return _silent("the second reader failed.")
    return EvidenceReading(found[-1]) if found else _silent("the second reader gave no answer.")


def lacks_evidence(notices: Sequence[ResultWarning]) -> bool:
    """Whether an answer lacks the proof that was wanted."""
    return any(n.code == "no_evidence" for n in notices)


def _silent(why: str) -> EvidenceReading:
    return EvidenceReading(notices=(ResultWarning("no_evidence", f"The values were not looked up on the page: {why}"),))
