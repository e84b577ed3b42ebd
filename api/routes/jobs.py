"""`/v1/jobs`: submit an image or document and fetch the result later. An accepted job survives a restart or power failure."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Path, Query, Request
from fastapi.responses import Response

from api.deps import OwnerDep, PipelineDep, ServicesDep, SettingsDep, cancel_on_disconnect, fair_key_of
from api.errors import ErrorResponse
from api.openapi import openapi_request_body, operation_id
from api.request_body import device_from, parse_upload
from api.schemas.jobs import JobList, JobRequest, JobResponse, Status
from hunyuanocr.config import Settings
from hunyuanocr.errors import InvalidValue, TaskNotSupported, UnsupportedMedia
from hunyuanocr.ids import new_id
from hunyuanocr.images import sniff
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.jobs.service import MAX_WAIT_S, JobView
from hunyuanocr.services.jobs.worker import task_from_params
from hunyuanocr.services.webhooks import validate_webhook_url
from hunyuanocr.store import jobs as store
from hunyuanocr.store.jobs import IdempotencyKey, Job

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorResponse, "description": "Not found, or the store is disabled."},
    422: {"model": ErrorResponse, "description": "Invalid parameter."},
    503: {"model": ErrorResponse, "description": "Database unavailable. Retry after `Retry-After` seconds."},
}
SUBMIT_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "Image missing, invalid base64, or more than one file."},
    409: {"model": ErrorResponse, "description": "The `Idempotency-Key` was used for a different request."},
    413: {"model": ErrorResponse, "description": "Request body too large."},
    415: {"model": ErrorResponse, "description": "File type or content type not supported."},
    429: {"model": ErrorResponse, "description": "Queue full or rate limit exceeded. Retry after `Retry-After` seconds."},
}
router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=ERROR_RESPONSES, generate_unique_id_function=operation_id)

Id = Annotated[str, Path(max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Wait until the job ends, for at most this time, in seconds.")]


@router.post(
    "",
    status_code=202,
    response_model=JobResponse,
    responses=SUBMIT_RESPONSES,
    openapi_extra={"requestBody": openapi_request_body(JobRequest)},
    summary="Submit a job",
)
async def submit_job(
    request: Request, response: Response, *, pipeline: PipelineDep, services: ServicesDep, settings: SettingsDep, owner: OwnerDep
) -> JobResponse:
    """Accepts the parameters of `/v1/ocr`, and `priority` and `webhook`. Once the response 202 is sent, the job is stored safely.

    Send the header `Idempotency-Key`, so that you can repeat the request after a connection failure without a second job.
    """
    job_service = services.job_service
    key = idempotency_key(request)
    upload = await parse_upload(request, settings.images.max_bytes, JobRequest)
    params = upload.params
    if sniff(upload.data) is None:
        raise UnsupportedMedia("The file is not a supported image or PDF.")
    await validate_job(params, pipeline, settings)
    job = Job(
        new_id(),
        owner,
        job_service.now(),
        params.to_params(upload.notices),
        len(upload.data),
        priority=params.priority,
        device=device_from(request, params),
        webhook=params.webhook,
        fair_key=fair_key_of(request),
    )
    stored_key = None if key is None else IdempotencyKey(key, await asyncio.to_thread(params.fingerprint, upload.data))
    id, new = await job_service.submit(job, upload.data, stored_key)
    response.headers["Location"] = f"/v1/jobs/{id}"
    if not new:
        response.headers["Idempotent-Replayed"] = "true"
    return JobResponse.of(await job_service.get(owner, id))


async def validate_job(job_request: JobRequest, pipeline: Pipeline, settings: Settings) -> None:
    """Reject a job that could never succeed. Raises InvalidValue, WebhookNotAllowed, TaskNotSupported, and the errors of
    `task_from_params`.
    """
    if job_request.stream:
        raise InvalidValue("A job cannot be streamed.", hint="Omit 'stream'. Fetch the job with ?wait= or set a webhook.")
    if job_request.webhook is not None:
        validate_webhook_url(job_request.webhook, settings.jobs)
    task = await asyncio.to_thread(task_from_params, job_request.to_params())
    if task.kind not in pipeline.backend.tasks:
        raise TaskNotSupported(
            f"The active backend does not support the task '{task.kind.value}'.", hint="See /v1/models for its tasks."
        )


def idempotency_key(request: Request) -> str | None:
    """Return the header `Idempotency-Key`, or None without it. Raises InvalidValue."""
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= 200 and key.isascii() and key.isprintable()):
        raise InvalidValue("Invalid Idempotency-Key.", hint="Send 1 to 200 printable ASCII characters.")
    return key


@router.get("", summary="List jobs")
async def list_jobs(
    services: ServicesDep,
    owner: OwnerDep,
    status: Annotated[Status | None, Query(description="Only jobs with this status.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Maximum number of jobs on a page.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=64, pattern=r"^[0-9A-Za-z_-]+$", description="`next` of the previous page.")
    ] = None,
) -> JobList:
    """Return your jobs, newest first, without their results."""
    jobs = await services.store.read(store.search, owner, limit + 1, status=status, before=cursor)
    next_cursor = jobs[limit - 1].id if len(jobs) > limit else None
    return JobList(data=[JobResponse.of(JobView(job)) for job in jobs[:limit]], next=next_cursor)


@router.get("/{id}", summary="Get a job and its result")
async def get_job(
    request: Request, id: Id, *, services: ServicesDep, owner: OwnerDep, background: BackgroundTasks, wait: Wait = 0.0
) -> JobResponse:
    """Jobs of other owners return 404. A job is kept for `jobs.retention_hours` hours; its record is kept longer.

    If the setting `store.ephemeral` is on, a finished job can be fetched once.
    """
    job_service = services.job_service
    view = await cancel_on_disconnect(request, job_service.wait(owner, id, wait)) if wait else await job_service.get(owner, id)
    if services.ephemeral is not None and view.job.status in store.FINISHED:
        background.add_task(services.ephemeral.fetched, owner, [id])
    return await asyncio.to_thread(JobResponse.of, view)


_CANCEL_RESPONSES: dict[int | str, dict[str, Any]] = {409: {"model": ErrorResponse, "description": "The job has already ended."}}


@router.delete("/{id}", responses=_CANCEL_RESPONSES, summary="Cancel a job")
async def cancel_job(id: Id, services: ServicesDep, owner: OwnerDep) -> JobResponse:
    """Cancel a queued or running job and delete its image. Cancelling twice is not an error. A finished job returns 409."""
    return JobResponse.of(await services.job_service.cancel(owner, id))
