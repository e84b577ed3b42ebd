"""`/v1/batch`: submit many images, or ZIP files of images, in one request; each becomes a job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.background import BackgroundTask

from api.deps import OwnerDep, PipelineDep, ServicesDep, SettingsDep, fair_key_of
from api.limits import max_request_bytes
from api.multipart import Part, read_parts
from api.openapi import operation_id
from api.request_body import device_from, form_fields, ignored_keys, image_of, limit_body, split_form, validate_model
from api.routes.jobs import ERROR_RESPONSES, SUBMIT_RESPONSES, Id, idempotency_key, validate_job
from api.schemas.jobs import BatchResponse, JobRequest, JobResponse
from hunyuanocr.config import Settings
from hunyuanocr.errors import EmptyInput, NotFound, UnsupportedMedia
from hunyuanocr.ids import new_id
from hunyuanocr.result_schema import fields_object
from hunyuanocr.services.csv_safety import csv_row
from hunyuanocr.services.jobs.service import JobView
from hunyuanocr.services.jobs.zip_upload import UploadedFile, UploadLimits, expand_uploads
from hunyuanocr.store import batches
from hunyuanocr.store.jobs import FINISHED, IdempotencyKey, Job
from hunyuanocr.types import ResultWarning

router = APIRouter(prefix="/v1/batch", tags=["jobs"], responses=ERROR_RESPONSES, generate_unique_id_function=operation_id)

ResultFormat = Annotated[Literal["jsonl", "csv"], Query(description="File format: JSON Lines or CSV.")]

_file_fields = JobRequest.model_json_schema(by_alias=True)["properties"] | {
    "schema": {"type": "string", "description": "JSON Schema, as JSON text."},
    "fields": {"type": "string", "description": "Field names, separated by commas or as a JSON list."},
}
_files = {
    "type": "array",
    "items": {"type": "string", "format": "binary"},
    "description": "Images, PDF files, and ZIP files of these.",
}
_BODY = {
    "required": True,
    "content": {"multipart/form-data": {
        "schema": {"type": "object", "required": ["file"], "properties": {"file": _files} | _file_fields},
    }},
}  # fmt: skip


@router.post(
    "",
    status_code=202,
    response_model=BatchResponse,
    responses=SUBMIT_RESPONSES,
    openapi_extra={"requestBody": _BODY},
    summary="Submit a batch",
)
async def submit_batch(
    request: Request, response: Response, *, pipeline: PipelineDep, services: ServicesDep, settings: SettingsDep, owner: OwnerDep
) -> BatchResponse:
    """Send a multipart form with files, or ZIP files of files, and the parameters of `/v1/jobs`, which apply to all files.

    The batch is accepted as a whole or rejected as a whole. If a file cannot be processed, only its job fails.
    """
    key = idempotency_key(request)
    uploaded_files, params, notices = await _parse_batch(request, settings)
    await validate_job(params, pipeline, settings)
    limits = UploadLimits(settings.jobs.batch_files, settings.images.max_bytes, int(settings.jobs.batch_mb * 1e6))
    files = await asyncio.to_thread(expand_uploads, uploaded_files, limits)
    if not files:
        raise EmptyInput("The batch has no files.", hint="Send files, or a ZIP of files, in the form field 'file'.")
    stored_key = None
    if key is not None:
        images = [data for _, data in uploaded_files]
        stored_key = IdempotencyKey(key, await asyncio.to_thread(params.fingerprint, *images, kind="batch"))
    batch_id = new_id()
    template = Job(
        "",
        owner,
        services.job_service.now(),
        params.to_params(notices),
        0,
        priority=params.priority,
        batch_id=batch_id,
        device=device_from(request, params),
        webhook=params.webhook,
        fair_key=fair_key_of(request),
    )
    ids = sorted(new_id() for _ in files)  # results are sorted by id: this keeps the order of the files
    jobs = [(_job(file, replace(template, id=id)), file.data) for id, file in zip(ids, files, strict=True)]
    accepted, new = await services.job_service.submit_batch(owner, batch_id, jobs, stored_key)
    response.headers["Location"] = f"/v1/batch/{accepted}"
    if not new:
        response.headers["Idempotent-Replayed"] = "true"
    return await get_batch(accepted, services, owner)


_Batch = tuple[list[tuple[str, bytes]], JobRequest, tuple[ResultWarning, ...]]


async def _parse_batch(request: Request, settings: Settings) -> _Batch:
    """Return the names and bytes of the files, the parameters, and warnings about ignored keys."""
    content_type = request.headers.get("content-type", "")
    if content_type.split(";")[0].strip().lower() != "multipart/form-data":
        raise UnsupportedMedia("A batch must be multipart/form-data.", hint="Send a form with files, or with a ZIP of files.")
    body = limit_body(request, max_request_bytes(settings))
    parts = await read_parts(content_type, body.stream(), settings.jobs.batch_files + 64)
    return await asyncio.to_thread(_split_batch, parts, [*request.query_params])


def _split_batch(parts: list[Part], query: list[str]) -> _Batch:
    files, texts = split_form(parts, JobRequest)
    uploaded_files = [(part.filename or "", image_of(part)) for part in files if part.data or part.filename]
    params = validate_model(JobRequest, form_fields(texts, JobRequest))
    return uploaded_files, params, ignored_keys([part.name for part in texts], query, JobRequest)


def _job(file: UploadedFile, template: Job) -> Job:
    e = file.failure
    error = None if e is None else {"code": e.code, "detail": e.message, "hint": e.hint}
    return replace(template, name=file.name, size=len(file.data or b""), error=error)


@router.get("/{id}", summary="Get the status of a batch")
async def get_batch(id: Id, services: ServicesDep, owner: OwnerDep) -> BatchResponse:
    """Return the number of jobs by status."""
    counts = await services.store.read(batches.counts, owner, id)
    if not counts:
        raise NotFound("Batch not found.")
    return BatchResponse.of(id, counts)


@router.delete("/{id}", summary="Cancel a batch")
async def cancel_batch(id: Id, services: ServicesDep, owner: OwnerDep) -> BatchResponse:
    """Cancel the queued and running jobs. Finished jobs keep their results."""
    await services.job_service.cancel_batch(owner, id)
    return await get_batch(id, services, owner)


@router.get("/{id}/results", summary="Download the results of a batch", response_class=Response)
async def get_batch_results(id: Id, services: ServicesDep, owner: OwnerDep, format: ResultFormat = "jsonl") -> Response:
    """Results are in the order of the files. JSON Lines: one job per line, as in `/v1/jobs`. CSV: one row per file.

    If the setting `store.ephemeral` is on, results can be downloaded once.
    """
    await get_batch(id, services, owner)
    finished: list[str] = []
    encode = _json_lines if format == "jsonl" else _csv
    lines = encode(lambda: _collect_finished(services.job_service.results_of(owner, id), finished))
    media = "application/jsonl" if format == "jsonl" else "text/csv; charset=utf-8"
    headers = {"Content-Disposition": f'attachment; filename="{id}.{format}"'}
    cleanup = None if services.ephemeral is None else BackgroundTask(services.ephemeral.fetched, owner, finished)
    return StreamingResponse(lines, media_type=media, headers=headers, background=cleanup)


async def _collect_finished(views: AsyncIterator[JobView], ids: list[str]) -> AsyncIterator[JobView]:
    """Yield the views unchanged, and append the ids of finished jobs to `ids`."""
    async for view in views:
        if view.job.status in FINISHED:
            ids.append(view.job.id)
        yield view


async def _json_lines(results: Callable[[], AsyncIterator[JobView]]) -> AsyncIterator[bytes]:
    async for view in results():
        answer = await asyncio.to_thread(JobResponse.of, view)
        yield answer.model_dump_json().encode() + b"\n"


async def _csv(results: Callable[[], AsyncIterator[JobView]]) -> AsyncIterator[bytes]:
    """Yield CSV. Reads the results twice: the first pass collects the columns, which are the fields of all results."""
    keys: dict[str, None] = {}
    async for view in results():
        if view.result is not None:
            keys |= dict.fromkeys(field.key for field in view.result.fields)
    yield ("\ufeff" + csv_row(["file", "job", "status", *(keys or ["text"]), "error"])).encode()
    async for view in results():
        values: dict[str, Any] = {"text": "" if view.result is None else view.result.text}
        if view.result is not None and keys:
            values = fields_object(view.result)
        error = "" if view.job.error is None else view.job.error["code"]
        cells = (values.get(key) for key in keys or ["text"])
        yield csv_row([view.job.name, view.job.id, view.job.status, *cells, error]).encode()
