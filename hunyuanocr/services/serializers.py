"""JSON serialization of results and jobs: defined by the API, used by services that write files and call webhooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hunyuanocr.services.jobs.service import JobView
from hunyuanocr.types import Result


@dataclass(frozen=True)
class Serializers:
    """`answer` returns the body of /v1/ocr for a result, `job` the body of /v1/jobs for a job: plain JSON values."""

    answer: Callable[[Result], dict[str, Any]]
    job: Callable[[JobView], dict[str, Any]]
