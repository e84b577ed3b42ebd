"""The wire of jobs and batches: what may be asked, and what a job looks like to its owner."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.schemas.ocr import OcrRequest, OcrResponse, fields_object
from hunyuanocr.services.jobs import JobView
from hunyuanocr.services.serializers import Serializers
from hunyuanocr.store.result_codec import sanitize_json
from hunyuanocr.types import Result

Status = Literal["queued", "running", "done", "failed", "cancelled"]


class JobRequest(OcrRequest):
    """What may stand beside the picture of a job: all that /v1/ocr takes, and these."""

    priority: int = Field(0, ge=-9, le=9, description="Of your jobs, those with a higher number are read first.")
    webhook: Annotated[str, BeforeValidator(sanitize_json)] | None = Field(
        None, max_length=2000, description="Address that is told the end of the job; its host must be named in the settings."
    )

    def to_params(self) -> dict[str, Any]:
        """What is needed to read the picture later."""
        kept: dict[str, Any] = sanitize_json(self.model_dump(by_alias=True, exclude={"stream", "priority", "webhook", "device"}))
        return kept

    def fingerprint(self, *pictures: bytes) -> str:
        """The same for the same request. Blocking: it hashes the pictures."""
        digest = hashlib.sha256(json.dumps(self.model_dump(by_alias=True), sort_keys=True).encode())
        for picture in pictures:
            digest.update(hashlib.sha256(picture).digest())
        return digest.hexdigest()


class JobError(BaseModel):
    """Why a job failed."""

    code: str
    detail: str
    hint: str


class JobProgress(BaseModel):
    """Pages of the document; how many there are is known when its reading has begun."""

    pages: int | None
    pages_done: int

    @classmethod
    def of(cls, view: JobView) -> JobProgress:
        """Told by the reader while it reads several pages, by the job's row after that."""
        if view.progress is not None:
            return cls(pages=view.progress.pages, pages_done=view.progress.done)
        return cls(pages=view.job.pages, pages_done=view.job.pages or 0)


class WebhookStatus(BaseModel):
    """How telling the end of a job stands."""

    url: str
    status: Literal["waiting", "pending", "delivered", "given_up"] = Field(
        description="`waiting` for the end of the job, `pending` until the other side has taken it."
    )
    id: str | None = Field(None, description="The `webhook-id` of the message, the same for each attempt.")
    attempts: int = 0
    next_at: datetime | None = None
    delivered_at: datetime | None = None
    trouble: str | None = Field(None, description="What went wrong with the latest attempt.")

    @classmethod
    def of(cls, view: JobView) -> WebhookStatus | None:
        """None when the job asked for none."""
        d = view.delivery
        if view.job.webhook is None:
            return None
        if d is None:
            return cls(url=view.job.webhook, status="waiting")
        status: Any = d.status
        return cls(
            url=d.url, status=status, id=d.id, attempts=d.attempts, next_at=d.due_at if status == "pending" else None,
            delivered_at=d.delivered_at, trouble=d.trouble,
        )  # fmt: skip


_EXAMPLE: dict[str, Any] = {
    "id": "019aa2f0c1f07d4f8a7c1b2e3d4f5a6b", "status": "queued", "ahead": 3, "priority": 0, "file": None, "batch_id": None,
    "device": "till-2", "created_at": "2026-11-21T08:30:00Z", "started_at": None, "finished_at": None, "attempts": 0,
    "progress": {"pages": None, "pages_done": 0}, "webhook": None, "error": None, "result": None,
}  # fmt: skip


class JobResponse(BaseModel):
    """One job."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str = Field(description="Also the id of its result and of its record.")
    status: Status
    ahead: int | None = Field(None, description="How many jobs come before it, while it is queued.")
    priority: int
    file: str | None = Field(None, description="Name of the file in its batch.")
    batch_id: str | None = None
    device: str | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempts: int = Field(description="How often its reading has begun.")
    progress: JobProgress
    webhook: WebhookStatus | None = None
    error: JobError | None = None
    result: OcrResponse | dict[str, Any] | None = Field(
        None, description="What /v1/ocr would have answered; null until it is done, and when its record was deleted."
    )

    @classmethod
    def of(cls, view: JobView) -> JobResponse:
        """As its owner sees it."""
        job = view.job
        status: Any = job.status
        return cls(
            id=job.id, status=status, ahead=view.ahead, priority=job.priority, file=job.name, batch_id=job.batch_id,
            device=job.device, created_at=job.created_at, started_at=job.started_at, finished_at=job.finished_at,
            attempts=job.attempts, progress=JobProgress.of(view),
            webhook=WebhookStatus.of(view), error=None if job.error is None else JobError(**job.error),
            result=None if view.result is None else _result(view.result, job.wanted.get("response")),
        )  # fmt: skip


def _result(result: Result, response: Any) -> OcrResponse | dict[str, Any]:
    return fields_object(result) if response == "fields" else OcrResponse.of(result)


class JobList(BaseModel):
    """Jobs, the newest first, without their results."""

    data: list[JobResponse]
    next: str | None = Field(None, description="Send it as `cursor` for the page after; null on the last page.")


class BatchResponse(BaseModel):
    """A batch as a whole."""

    id: str
    status: Literal["running", "done"] = Field(description="`done` when no job of it waits or is being read.")
    total: int
    queued: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0

    @classmethod
    def of(cls, id: str, counts: dict[str, int]) -> BatchResponse:
        """From how many jobs are in which state."""
        still = counts.get("queued", 0) + counts.get("running", 0)
        return cls(id=id, status="running" if still else "done", total=sum(counts.values()), **counts)


SERIALIZERS = Serializers(
    answer=lambda result: OcrResponse.of(result).model_dump(mode="json"),
    job=lambda seen: JobResponse.of(seen).model_dump(mode="json", exclude={"webhook"}),
)
