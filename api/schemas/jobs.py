"""Requests and responses of jobs and batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.schemas.ocr import OcrRequest
from hunyuanocr.result_schema import OcrResponse, fields_object
from hunyuanocr.services.jobs import JobView
from hunyuanocr.services.serializers import Serializers
from hunyuanocr.store.result_codec import sanitize_json
from hunyuanocr.types import Result, ResultWarning

Status = Literal["queued", "running", "done", "failed", "cancelled"]


class JobRequest(OcrRequest):
    """Parameters of a job: those of `/v1/ocr`, a priority and a webhook."""

    priority: int = Field(0, ge=-9, le=9, description="Among your own jobs, those with a higher priority run first.")
    webhook: Annotated[str, BeforeValidator(sanitize_json)] | None = Field(
        None, max_length=2000, description="URL that is called when the job ends. The settings must allow its host."
    )

    def to_params(self, notices: Iterable[ResultWarning] = ()) -> dict[str, Any]:
        """Return the parameters to store with the job, and the warnings to add to its result."""
        params: dict[str, Any] = sanitize_json(
            self.model_dump(by_alias=True, exclude={"stream", "priority", "webhook", "device"})
        )
        warnings = [(notice.code, notice.message) for notice in notices]
        return params | ({"warnings": warnings} if warnings else {})

    def fingerprint(self, *images: bytes, kind: str = "") -> str:
        """Return a SHA-256 digest, in hexadecimal, of the parameters and images. Blocking.

        `kind` separates requests that differ in what they create: a job and a batch of the same image.
        """
        digest = hashlib.sha256(kind.encode() + json.dumps(self.model_dump(by_alias=True), sort_keys=True).encode())
        for image in images:
            digest.update(hashlib.sha256(image).digest())
        return digest.hexdigest()


class JobError(BaseModel):
    """Reason why a job failed."""

    code: str = Field(description="Stable error code, for programs.")
    detail: str = Field(description="What went wrong, for people.")
    hint: str = Field(description="How to fix the problem.")


class JobProgress(BaseModel):
    """Progress of a job."""

    pages: int | None = Field(description="Number of pages; null until the job has started.")
    pages_done: int = Field(description="Number of finished pages.")

    @classmethod
    def of(cls, view: JobView) -> JobProgress:
        """Return the progress reported by the worker, or that of the stored job if the worker reports none."""
        if view.progress is not None:
            return cls(pages=view.progress.pages, pages_done=view.progress.done)
        return cls(pages=view.job.pages, pages_done=view.job.pages or 0)


class WebhookStatus(BaseModel):
    """Delivery status of a job's webhook."""

    url: str
    status: Literal["waiting", "pending", "delivered", "given_up"] = Field(
        description="`waiting`: the job has not ended. `pending`: not yet delivered. `given_up`: all attempts failed."
    )
    id: str | None = Field(None, description="`webhook-id` of the message, the same for each attempt.")
    attempts: int = Field(0, description="Number of delivery attempts.")
    next_at: datetime | None = Field(None, description="Time of the next attempt.")
    delivered_at: datetime | None = Field(None, description="Time of delivery.")
    trouble: str | None = Field(None, description="Error of the latest attempt.")

    @classmethod
    def of(cls, view: JobView) -> WebhookStatus | None:
        """Return the delivery status; None for a job without a webhook."""
        delivery = view.delivery
        if view.job.webhook is None:
            return None
        if delivery is None:
            return cls(url=view.job.webhook, status="waiting")
        status: Any = delivery.status
        return cls(
            url=delivery.url,
            status=status,
            id=delivery.id,
            attempts=delivery.attempts,
            next_at=delivery.due_at if status == "pending" else None,
            delivered_at=delivery.delivered_at,
            trouble=delivery.last_error,
        )


_EXAMPLE: dict[str, Any] = {
    "id": "019aa2f0c1f07d4f8a7c1b2e3d4f5a6b", "status": "queued", "ahead": 3, "priority": 0, "file": None, "batch_id": None,
    "device": "checkout-2", "created_at": "2026-11-21T08:30:00Z", "started_at": None, "finished_at": None, "attempts": 0,
    "progress": {"pages": 1, "pages_done": 0}, "webhook": None, "error": None, "result": None,
}  # fmt: skip


class JobResponse(BaseModel):
    """State of a job."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str = Field(description="Id of the job, of its result and of its record.")
    status: Status
    ahead: int | None = Field(None, description="Number of jobs that run before this one; null unless it is queued.")
    priority: int
    file: str | None = Field(None, description="File name in the batch.")
    batch_id: str | None = Field(None, description="Id of the batch; null for a single job.")
    device: str | None = Field(None, description="Name of the sending device.")
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempts: int = Field(description="Number of times that the job was started.")
    progress: JobProgress
    webhook: WebhookStatus | None = None
    error: JobError | None = None
    result: OcrResponse | dict[str, Any] | None = Field(
        None, description="Result as `/v1/ocr` returns it; null until the job is done, and after its record was deleted."
    )

    @classmethod
    def of(cls, view: JobView) -> JobResponse:
        """Convert a job of the job service."""
        job = view.job
        status: Any = job.status
        return cls(
            id=job.id,
            status=status,
            ahead=view.ahead,
            priority=job.priority,
            file=job.name,
            batch_id=job.batch_id,
            device=job.device,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            attempts=job.attempts,
            progress=JobProgress.of(view),
            webhook=WebhookStatus.of(view),
            error=None if job.error is None else JobError(**job.error),
            result=None if view.result is None else _response_body(view.result, job.params.get("response")),
        )


def _response_body(result: Result, response: Any) -> OcrResponse | dict[str, Any]:
    return fields_object(result) if response == "fields" else OcrResponse.of(result)


class JobList(BaseModel):
    """One page of jobs, newest first, without their results."""

    data: list[JobResponse]
    next: str | None = Field(None, description="Value of `cursor` for the next page; null on the last page.")


class BatchResponse(BaseModel):
    """State of a batch: the number of its jobs by status."""

    id: str
    status: Literal["running", "done"] = Field(description="`done` if no job of the batch is queued or running.")
    total: int = Field(description="Number of jobs in the batch.")
    queued: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0

    @classmethod
    def of(cls, id: str, counts: dict[str, int]) -> BatchResponse:
        """Create the response from the number of jobs by status."""
        unfinished = counts.get("queued", 0) + counts.get("running", 0)
        return cls(id=id, status="running" if unfinished else "done", total=sum(counts.values()), **counts)


SERIALIZERS = Serializers(
    answer=lambda result: OcrResponse.of(result).model_dump(mode="json"),
    job=lambda view: JobResponse.of(view).model_dump(mode="json", exclude={"webhook"}),
)
