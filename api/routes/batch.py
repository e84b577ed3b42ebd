"""`/v1/batch`: many pictures, or a ZIP of them, in one request; a job for each."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.background import BackgroundTask

from api.deps import OwnerDep, PipelineDep, ServicesDep, SettingsDep, fair_key_of
from api.limits import max_request_bytes
from api.multipart import read_parts
from api.request_body import device_from, form_fields, limit_body, validate_model
from api.routes.jobs import ERROR_RESPONSES, SUBMIT_RESPONSES, Id, idempotency_key, validate_job
from api.schemas.jobs import BatchResponse, JobRequest, JobResponse
from api.schemas.ocr import fields_object
from hunyuanocr.config import Settings
from hunyuanocr.errors import EmptyInput, NotFound, UnsupportedMedia
from hunyuanocr.services.csv_safety import escape_cell
from hunyuanocr.services.jobs.service import JobView
from hunyuanocr.services.jobs.zip_upload import UploadedFile, UploadLimits, expand_uploads
from hunyuanocr.store import batches
from hunyuanocr.store.ids import new_id
from hunyuanocr.store.jobs import FINISHED, IdempotencyKey, Job

router = APIRouter(prefix="/v1/batch", tags=["jobs"], responses=ERROR_RESPONSES)

_file_fields = JobRequest.model_json_schema(by_alias=True)["properties"] | {
    "schema": {"type": "string", "description": "A JSON Schema, as JSON text."},
    "fields": {"type": "string", "description": "Names between commas, or a JSON list."},
}
_files = {
    "type": "array", "items": {"type": "string", "format": "binary"}, "description": "Pictures, PDFs, and ZIPs of them.",
}  # fmt: skip
_BODY = {
    "required": True,
    "content": {"multipart/form-data": {
        "schema": {"type": "object", "required": ["file"], "properties": {"file": _files} | _file_fields},
    }},
}  # fmt: skip


@router.post(
    "", status_code=202, response_model=BatchResponse, responses=SUBMIT_RESPONSES, openapi_extra={"requestBody": _BODY},
    summary="Have many pictures read later",
)  # fmt: skip
async def submit(
    request: Request, response: Response, *, pipeline: PipelineDep, services: ServicesDep, settings: SettingsDep, owner: OwnerDep
) -> BatchResponse:
    """A multipart form with many files, or with ZIPs of them, and the parameters of /v1/jobs, which hold for all of them.

    Accepted as a whole or not at all. A file that cannot be read fails by itself, with its name.
    """
    desk = services.job_service
    key = idempotency_key(request)
    uploads, wanted = await _read(request, settings)
    await validate_job(wanted, pipeline, settings)
    limits = UploadLimits(settings.jobs.batch_files, settings.images.max_bytes, int(settings.jobs.batch_mb * 1e6))
    files = await asyncio.to_thread(expand_uploads, uploads, limits)
    if not files:
        raise EmptyInput("The batch has no files.", hint="Send files, or a ZIP of files, in the form's field 'file'.")
    print_ = (
        None if key is None else IdempotencyKey(key, await asyncio.to_thread(wanted.fingerprint, *(data for _, data in uploads)))
    )
    batch_id = new_id()
    like = Job("", owner, desk.now(), wanted.to_params(), 0, priority=wanted.priority, batch_id=batch_id,
               device=device_from(request, wanted), webhook=wanted.webhook, fair_key=fair_key_of(request))  # fmt: skip
    ids = sorted(new_id() for _ in files)  # their order is that of the files
    jobs = [(_job(file, replace(like, id=id)), file.data) for id, file in zip(ids, files, strict=True)]
    accepted, new = await desk.submit_batch(owner, batch_id, jobs, print_)
    response.headers["Location"] = f"/v1/batch/{accepted}"
    if not new:
        response.headers["Idempotent-Replayed"] = "true"
    return await get_batch(accepted, services, owner)


async def _read(request: Request, settings: Settings) -> tuple[list[tuple[str, bytes]], JobRequest]:
    kind = request.headers.get("content-type", "")
    if kind.split(";")[0].strip().lower() != "multipart/form-data":
        raise UnsupportedMedia("A batch is multipart/form-data.", hint="Send a form with files, or with a ZIP of files.")
    body = limit_body(request, max_request_bytes(settings))
    parts = await read_parts(kind, body.stream(), settings.jobs.batch_files + 64)
    uploads = [(part.filename, bytes(part.data)) for part in parts if part.is_file and (part.data or part.filename)]
    return uploads, validate_model(JobRequest, form_fields(part for part in parts if not part.is_file))


def _job(file: UploadedFile, like: Job) -> Job:
    e = file.failure
    error = None if e is None else {"code": e.code, "detail": e.message, "hint": e.hint}
    return replace(like, name=file.name, size=len(file.data or b""), error=error)


@router.get("/{id}", summary="How a batch stands")
async def get_batch(id: Id, services: ServicesDep, owner: OwnerDep) -> BatchResponse:
    """How many of its jobs are in which state."""
    counts = await services.store.read(batches.counts, owner, id)
    if not counts:
        raise NotFound("There is no such batch.")
    return BatchResponse.of(id, counts)


@router.delete("/{id}", summary="Cancel what is left of a batch")
async def cancel(id: Id, services: ServicesDep, owner: OwnerDep) -> BatchResponse:
    """What is done stays done."""
    await services.job_service.cancel_batch(owner, id)
    return await get_batch(id, services, owner)


@router.get("/{id}/results", summary="The results of a batch as JSON Lines or CSV", response_class=Response)
async def results(id: Id, services: ServicesDep, owner: OwnerDep, format: Literal["jsonl", "csv"] = "jsonl") -> Response:
    """In the order in which the files were sent. JSON Lines: a job a line, as /v1/jobs answers it. CSV: a row a file.

    With `store.ephemeral` results can be fetched once.
    """
    await get_batch(id, services, owner)
    told: list[str] = []
    form = _json_lines if format == "jsonl" else _csv
    lines = form(lambda: _noted(services.job_service.results_of(owner, id), told))
    media = "application/jsonl" if format == "jsonl" else "text/csv; charset=utf-8"
    headers = {"Content-Disposition": f'attachment; filename="{id}.{format}"'}
    afterwards = None if services.ephemeral is None else BackgroundTask(services.ephemeral.fetched, owner, told)
    return StreamingResponse(lines, media_type=media, headers=headers, background=afterwards)


async def _noted(found: AsyncIterator[JobView], told: list[str]) -> AsyncIterator[JobView]:
    """The same; `told` gets the ids of those that are over."""
    async for seen in found:
        if seen.job.status in FINISHED:
            told.append(seen.job.id)
        yield seen


async def _json_lines(results: Callable[[], AsyncIterator[JobView]]) -> AsyncIterator[bytes]:
    async for seen in results():
        answer = await asyncio.to_thread(JobResponse.of, seen)
        yield answer.model_dump_json().encode() + b"\n"


async def _csv(results: Callable[[], AsyncIterator[JobView]]) -> AsyncIterator[bytes]:
    """Twice through the batch: the columns are the fields of all of its results."""
    keys: dict[str, None] = {}
    async for seen in results():
        if seen.result is not None:
            keys |= dict.fromkeys(field.key for field in seen.result.fields)
    yield "\ufeff".encode() + _row(["file", "job", "status", *(keys or ["text"]), "error"])
    async for seen in results():
        values: dict[str, Any] = {"text": "" if seen.result is None else seen.result.text}
        if seen.result is not None and keys:
            values = fields_object(seen.result)
        error = "" if seen.job.error is None else seen.job.error["code"]
        yield _row([seen.job.name, seen.job.id, seen.job.status, *(values.get(key) for key in keys or ["text"]), error])


def _row(values: list[Any]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerow([escape_cell(value) for value in values])
    return out.getvalue().encode()
