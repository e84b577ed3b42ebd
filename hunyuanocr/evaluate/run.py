"""Run the pipeline on every document of a folder and keep results with their labels."""

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
    """The outcome of one document: a result or an error message, and the seconds it took."""

    sample: LabelledDocument
    result: Result | None
    seconds: float
    error: str | None = None

    def compared(self) -> dict[str, Any]:
        """Return labels and results side by side, for the analysis of errors; JSON-serializable."""
        results = {f.key: f for f in self.result.fields} if self.result else {}
        fields = {
            key: {
                "truth": expected,
                "answer": results[key].value if key in results else None,
                "also": list(self.sample.also.get(key, ())),
                "grounded": key in results and results[key].grounded,
                "confidence": results[key].confidence if key in results else None,
                "doubts": [doubt.code for doubt in results[key].doubts] if key in results else [],
            }
            for key, expected in self.sample.fields.items()
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
    """Yield the outcomes one by one, sequentially, so that the seconds are those of an idle machine.

    `evidence` selects the lines and boxes: of the evidence backend (fast), of the model's own spotting (full), or none.
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
