"""`/v1/jobs`: a picture is accepted now, read when its turn comes, and survives whatever happens to this machine meanwhile."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Path, Query, Request
from fastapi.responses import Response

from api.deps import OwnerDep, PipelineDep, ServicesDep, SettingsDep, cancel_on_disconnect, fair_key_of
from api.openapi import openapi_request_body
from api.request_body import device_from, parse_upload
from api.schemas.common import ErrorResponse
from api.schemas.jobs import JobList, JobRequest, JobResponse, Status
from hunyuanocr.config import Settings
from hunyuanocr.errors import InvalidValue, TaskNotSupported, UnsupportedMedia
from hunyuanocr.images import sniff
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.jobs.service import MAX_WAIT_S, JobView
from hunyuanocr.services.jobs.worker import task_from_params
from hunyuanocr.services.webhooks import validate_webhook_url
from hunyuanocr.store import jobs as store
from hunyuanocr.store.ids import new_id
from hunyuanocr.store.jobs import IdempotencyKey, Job

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorResponse, "description": "No such job of yours, or nothing is kept here."},
    422: {"model": ErrorResponse, "description": "A value that cannot be used."},
    503: {"model": ErrorResponse, "description": "The database does not answer; come back after `Retry-After` seconds."},
}
SUBMIT_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "No picture, broken base64, two files."},
    409: {"model": ErrorResponse, "description": "The Idempotency-Key came with another request before."},
    413: {"model": ErrorResponse, "description": "Too many bytes."},
    415: {"model": ErrorResponse, "description": "Neither picture nor PDF, or a content type that is not read here."},
    429: {"model": ErrorResponse, "description": "Too many jobs wait; come back after `Retry-After` seconds."},
}
router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=ERROR_RESPONSES)

Id = Annotated[str, Path(max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Answer when it is over, or after so many seconds.")]


@router.post(
    "", status_code=202, response_model=JobResponse, responses=SUBMIT_RESPONSES,
    openapi_extra={"requestBody": openapi_request_body(JobRequest)},
    summary="Have a picture or document read later",
)  # fmt: skip
async def submit(
    request: Request, response: Response, *, pipeline: PipelineDep, services: ServicesDep, settings: SettingsDep, owner: OwnerDep
) -> JobResponse:
    """Takes what /v1/ocr takes, and `priority` and `webhook`. From the answer 202 on, the job is never lost.

    Send the header `Idempotency-Key` to be able to repeat the request after a broken connection without a second job.
    """
    desk = services.job_service
    key = idempotency_key(request)
    upload = await parse_upload(request, settings.images.max_bytes, JobRequest)
    wanted = upload.params
    if sniff(upload.data) is None:
        raise UnsupportedMedia("The file is no picture and no PDF that can be read here.")
    await validate_job(wanted, pipeline, settings)
    job = Job(
        new_id(), owner, desk.now(), wanted.to_params(), len(upload.data), priority=wanted.priority,
        device=device_from(request, wanted), webhook=wanted.webhook, fair_key=fair_key_of(request),
    )  # fmt: skip
    print_ = None if key is None else IdempotencyKey(key, await asyncio.to_thread(wanted.fingerprint, upload.data))
    id, new = await desk.submit(job, upload.data, print_)
    response.headers["Location"] = f"/v1/jobs/{id}"
    if not new:
        response.headers["Idempotent-Replayed"] = "true"
    return JobResponse.of(await desk.get(owner, id))


async def validate_job(job_request: JobRequest, pipeline: Pipeline, settings: Settings) -> None:
    """Refuse now what could never be answered. Raises the errors of `hunyuanocr.errors`."""
    if job_request.stream:
        raise InvalidValue("A job has nobody to stream to.", hint="Leave 'stream' out; ask with ?wait= or send a webhook.")
    if job_request.webhook is not None:
        validate_webhook_url(job_request.webhook, settings.jobs)
    task = await asyncio.to_thread(task_from_params, job_request.to_params())
    if task.kind not in pipeline.backend.tasks:
        raise TaskNotSupported(f"The reader here cannot do the task '{task.kind.value}'.", hint="See /v1/models for its tasks.")


def idempotency_key(request: Request) -> str | None:
    """The client's Idempotency-Key. Raises InvalidValue."""
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= 200 and key.isascii() and key.isprintable()):
        raise InvalidValue("The Idempotency-Key cannot be used.", hint="Send 1 to 200 printable ASCII characters.")
    return key


@router.get("", summary="Your jobs, the newest first")
async def list_jobs(
    services: ServicesDep, owner: OwnerDep, status: Status | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=64, pattern=r"^[0-9A-Za-z_-]+$")] = None,
) -> JobList:  # fmt: skip
    """Without their results."""
    found = await services.store.read(store.search, owner, limit + 1, status=status, before=cursor)
    more = found[limit - 1].id if len(found) > limit else None
    return JobList(data=[JobResponse.of(JobView(job)) for job in found[:limit]], next=more)


@router.get("/{id}", summary="How a job stands, and its result")
async def get_job(
    request: Request, id: Id, *, services: ServicesDep, owner: OwnerDep, afterwards: BackgroundTasks, wait: Wait = 0.0
) -> JobResponse:
    """404 also for another owner's. A job can be asked for as long as `jobs.retention_hours` says; its record stays longer.

    With `store.ephemeral` a job that is over can be asked for once.
    """
    desk = services.job_service
    seen = await cancel_on_disconnect(request, desk.wait(owner, id, wait)) if wait else await desk.get(owner, id)
    if services.ephemeral is not None and seen.job.status in store.FINISHED:
        afterwards.add_task(services.ephemeral.fetched, owner, [id])
    return await asyncio.to_thread(JobResponse.of, seen)


_FINISHED: dict[int | str, dict[str, Any]] = {409: {"model": ErrorResponse, "description": "The job is over already."}}


@router.delete("/{id}", responses=_FINISHED, summary="Cancel a job, also in the middle")
async def cancel(id: Id, services: ServicesDep, owner: OwnerDep) -> JobResponse:
    """Its picture is deleted. Cancelling twice is no error; what is done or failed cannot be cancelled."""
    return JobResponse.of(await services.job_service.cancel(owner, id))
