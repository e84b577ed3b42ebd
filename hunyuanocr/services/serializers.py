"""How results and jobs look to clients: the API knows, and the services that write files and call webhooks are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hunyuanocr.services.jobs.service import JobView
from hunyuanocr.types import Result


@dataclass(frozen=True)
class Serializers:
    """`answer` makes what /v1/ocr answers of a result, `job` what /v1/jobs answers of a job: plain JSON values."""

    answer: Callable[[Result], dict[str, Any]]
    job: Callable[[JobView], dict[str, Any]]
