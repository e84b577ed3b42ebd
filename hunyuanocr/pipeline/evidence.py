"""The evidence backend: a second OCR engine that reads the pages while a language model extracts fields, to ground its values.

A language model returns values without positions, and may return values that are not on the page. Lines of OCR have boxes.
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
    """The evidence backend's reading; None and a warning if it failed."""

    reading: Reading | None = None
    notices: tuple[ResultWarning, ...] = ()


def needs_evidence(task: Task, backend: Backend) -> bool:
    """Return whether the answer needs evidence: fields by a language model that does not return lines itself."""
    model = backend.name not in (BackendName.PPOCR, BackendName.FAKE)
    return model and task.kind is TaskKind.EXTRACT and task.evidence is EvidenceMode.FAST


async def read_evidence(backend: Backend | None, pages: Sequence[Page], deadline: Deadline) -> EvidenceReading:
    """Read the pages with the evidence backend. A failure is a warning, never an error: the values stay, without evidence."""
    if backend is None:
        return _missing("the evidence backend is not available.")
    try:
        async with aclosing(read_within_deadline(backend, pages, Task(TaskKind.SPOT), deadline.minus_reserve())) as parts:
            readings = [part async for part in parts if isinstance(part, Reading)]
    except HunyuanOcrError as e:
        log.warning("The evidence backend failed: %s", e, exc_info=e)
        return _missing("the evidence backend failed.")
    return EvidenceReading(readings[-1]) if readings else _missing("the evidence backend returned no result.")


def lacks_evidence(notices: Sequence[ResultWarning]) -> bool:
    """Return whether an answer lacks the evidence that its task requires."""
    return any(n.code == "no_evidence" for n in notices)


def _missing(reason: str) -> EvidenceReading:
    return EvidenceReading(notices=(ResultWarning("no_evidence", f"The values were not verified on the page: {reason}"),))
