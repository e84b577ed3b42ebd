"""Read every document of a folder through the pipeline and keep what came out beside the truth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.evaluate.dataset import LabelledDocument
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Pipeline, Request
from hunyuanocr.types import EvidenceMode, Result


@dataclass(frozen=True)
class Outcome:
    """What became of one document: a result, or the failure in words, and the seconds it took."""

    sample: LabelledDocument
    result: Result | None
    seconds: float
    error: str | None = None

    def compared(self) -> dict[str, Any]:
        """What was wanted beside what was answered, for looking at mistakes; JSON-able."""
        answered = {f.key: f for f in self.result.fields} if self.result else {}
        fields = {
            key: {
                "truth": wanted,
                "answer": answered[key].value if key in answered else None,
                "grounded": key in answered and answered[key].grounded,
            }
            for key, wanted in self.sample.fields.items()
        }
        return {
            "file": self.sample.path.name,
            "seconds": round(self.seconds, 4),
            "error": self.error,
            "fields": fields,
            "meta": dict(self.sample.meta),
        }


async def evaluate(
    pipeline: Pipeline, samples: Sequence[LabelledDocument], evidence: EvidenceMode = EvidenceMode.FAST
) -> AsyncIterator[Outcome]:
    """One document after the other, so that seconds are those of a reader with nothing else to do.

    Lines and boxes are those of `evidence`: of the witness (fast), of the reader's own spotting (full), or there are none.
    """
    for sample in samples:
        keys = [*sample.fields, *(["items"] if sample.items is not None else [])]
        task = parse_instruction(fields=keys, evidence=evidence) if keys else parse_instruction(task="spot")
        data = await asyncio.to_thread(sample.path.read_bytes)
        start = time.perf_counter()
        result, error = None, None
        try:
            result = await pipeline.run(Request(data=data, task=task))
        except HunyuanOcrError as e:
            error = f"{e.code}: {e.message}"
        yield Outcome(sample, result, time.perf_counter() - start, error)
