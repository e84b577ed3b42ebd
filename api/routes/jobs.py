"""`/v1/jobs`: a picture is accepted now, read when its turn comes, and survives whatever happens to this machine meanwhile."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Path, Query, Request
from fastapi.responses import Response

from api.deps import TheOwner, ThePipeline, TheServices, TheSettings, fair_key_of, while_connected
from api.jobs import JobAnswer, JobRequest, JobsAnswer, Status
from api.params import device_of
from api.reading import read_upload
from api.routes.ocr import bodies
from api.schemas import ErrorAnswer
from hunyuanocr.config import Settings
from hunyuanocr.errors import InvalidValue, TaskNotSupported, UnsupportedMedia
from hunyuanocr.images import sniff
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.jobs.desk import LONGEST_WAIT_S, Seen
from hunyuanocr.services.jobs.hands import task_of
from hunyuanocr.services.webhooks import check_address
from hunyuanocr.store import jobs as store
from hunyuanocr.store.ids import new_id
from hunyuanocr.store.jobs import Job, Key

FAILURES: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorAnswer, "description": "No such job of yours, or nothing is kept here."},
    422: {"model": ErrorAnswer, "description": "A value that cannot be used."},
    503: {"model": ErrorAnswer, "description": "The database does not answer; come back after `Retry-After` seconds."},
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "No picture, broken base64, two files."},
    409: {"model": ErrorAnswer, "description": "The Idempotency-Key came with another request before."},
    413: {"model": ErrorAnswer, "description": "Too many bytes."},
    415: {"model": ErrorAnswer, "description": "Neither picture nor PDF, or a content type that is not read here."},
    429: {"model": ErrorAnswer, "description": "Too many jobs wait; come back after `Retry-After` seconds."},
}
router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=FAILURES)

Id = Annotated[str, Path(max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]
Wait = Annotated[float, Query(ge=0, le=LONGEST_WAIT_S, description="Answer when it is over, or after so many seconds.")]


@router.post(
    "", status_code=202, response_model=JobAnswer, responses=REFUSALS, openapi_extra={"requestBody": bodies(JobRequest)},
    summary="Have a picture or document read later",
)  # fmt: skip
async def submit(
    request: Request, response: Response, *, pipeline: ThePipeline, services: TheServices, settings: TheSettings, owner: TheOwner
) -> JobAnswer:
    """Takes what /v1/ocr takes, and `priority` and `webhook`. From the answer 202 on, the job is never lost.

    Send the header `Idempotency-Key` to be able to repeat the request after a broken connection without a second job.
    """
    desk = services.desk
    key = key_of(request)
    upload = await read_upload(request, settings.images.max_bytes, JobRequest)
    wanted = upload.wanted
    if sniff(upload.data) is None:
        raise UnsupportedMedia("The file is no picture and no PDF that can be read here.")
    await check(wanted, pipeline, settings)
    job = Job(
        new_id(), owner, desk.now(), wanted.kept(), len(upload.data), priority=wanted.priority,
        device=device_of(request, wanted), webhook=wanted.webhook, fair_key=fair_key_of(request),
    )  # fmt: skip
    print_ = None if key is None else Key(key, await asyncio.to_thread(wanted.fingerprint, upload.data))
    id, new = await desk.accept(job, upload.data, print_)
    response.headers["Location"] = f"/v1/jobs/{id}"
    if not new:
        response.headers["Idempotent-Replayed"] = "true"
    return JobAnswer.of(await desk.see(owner, id))


async def check(wanted: JobRequest, pipeline: Pipeline, settings: Settings) -> None:
    """Refuse now what could never be answered. Raises the errors of `hunyuanocr.errors`."""
    if wanted.stream:
        raise InvalidValue("A job has nobody to stream to.", hint="Leave 'stream' out; ask with ?wait= or send a webhook.")
    if wanted.webhook is not None:
        check_address(wanted.webhook, settings.jobs)
    task = await asyncio.to_thread(task_of, wanted.kept())
    if task.kind not in pipeline.backend.tasks:
        raise TaskNotSupported(f"The reader here cannot do the task '{task.kind.value}'.", hint="See /v1/models for its tasks.")


def key_of(request: Request) -> str | None:
    """The client's Idempotency-Key. Raises InvalidValue."""
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= 200 and key.isascii() and key.isprintable()):
        raise InvalidValue("The Idempotency-Key cannot be used.", hint="Send 1 to 200 printable ASCII characters.")
    return key


@router.get("", summary="Your jobs, the newest first")
async def listed(
    services: TheServices, owner: TheOwner, status: Status | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=64, pattern=r"^[0-9A-Za-z_-]+$")] = None,
) -> JobsAnswer:  # fmt: skip
    """Without their results."""
    found = await services.store.query(store.search, owner, limit + 1, status=status, before=cursor)
    more = found[limit - 1].id if len(found) > limit else None
    return JobsAnswer(data=[JobAnswer.of(Seen(job)) for job in found[:limit]], next=more)


@router.get("/{id}", summary="How a job stands, and its result")
async def one(
    request: Request, id: Id, *, services: TheServices, owner: TheOwner, afterwards: BackgroundTasks, wait: Wait = 0.0
) -> JobAnswer:
    """404 also for another owner's. A job can be asked for as long as `jobs.keep_hours` says; its record stays longer.

    With `store.ephemeral` a job that is over can be asked for once.
    """
    desk = services.desk
    seen = await while_connected(request, desk.wait(owner, id, wait)) if wait else await desk.see(owner, id)
    if services.ephemeral is not None and seen.job.status in store.OVER:
        afterwards.add_task(services.ephemeral.fetched, owner, [id])
    return await asyncio.to_thread(JobAnswer.of, seen)


_OVER: dict[int | str, dict[str, Any]] = {409: {"model": ErrorAnswer, "description": "The job is over already."}}


@router.delete("/{id}", responses=_OVER, summary="Cancel a job, also in the middle")
async def cancel(id: Id, services: TheServices, owner: TheOwner) -> JobAnswer:
    """Its picture is deleted. Cancelling twice is no error; what is done or failed cannot be cancelled."""
    return JobAnswer.of(await services.desk.cancel(owner, id))
