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

from api.deps import TheOwner, ThePipeline, TheServices, TheSettings, fair_key_of
from api.jobs import BatchAnswer, JobAnswer, JobRequest
from api.multipart import read_parts
from api.params import device_of
from api.reading import BESIDE, form_values, limited, valid
from api.routes.jobs import FAILURES, REFUSALS, Id, check, key_of
from api.schemas import fields_of
from hunyuanocr.config import Settings
from hunyuanocr.errors import EmptyInput, NotFound, UnsupportedMedia
from hunyuanocr.services.cells import cell
from hunyuanocr.services.jobs.desk import Seen
from hunyuanocr.services.jobs.unpack import File, Limits, files_of
from hunyuanocr.store import batches
from hunyuanocr.store.ids import new_id
from hunyuanocr.store.jobs import OVER, Job, Key

router = APIRouter(prefix="/v1/batch", tags=["jobs"], responses=FAILURES)

_HEADER = 400  # bytes of multipart around each file
_beside = JobRequest.model_json_schema(by_alias=True)["properties"] | {
    "schema": {"type": "string", "description": "A JSON Schema, as JSON text."},
    "fields": {"type": "string", "description": "Names between commas, or a JSON list."},
}
_files = {
    "type": "array", "items": {"type": "string", "format": "binary"}, "description": "Pictures, PDFs, and ZIPs of them.",
}  # fmt: skip
_BODY = {
    "required": True,
    "content": {"multipart/form-data": {
        "schema": {"type": "object", "required": ["file"], "properties": {"file": _files} | _beside},
    }},
}  # fmt: skip


@router.post(
    "", status_code=202, response_model=BatchAnswer, responses=REFUSALS, openapi_extra={"requestBody": _BODY},
    summary="Have many pictures read later",
)  # fmt: skip
async def submit(
    request: Request, response: Response, *, pipeline: ThePipeline, services: TheServices, settings: TheSettings, owner: TheOwner
) -> BatchAnswer:
    """A multipart form with many files, or with ZIPs of them, and the parameters of /v1/jobs, which hold for all of them.

    Accepted as a whole or not at all. A file that cannot be read fails by itself, with its name.
    """
    desk = services.desk
    key = key_of(request)
    uploads, wanted = await _read(request, settings)
    await check(wanted, pipeline, settings)
    limits = Limits(settings.jobs.batch_files, settings.images.max_bytes, int(settings.jobs.batch_mb * 1e6))
    files = await asyncio.to_thread(files_of, uploads, limits)
    if not files:
        raise EmptyInput("The batch has no files.", hint="Send files, or a ZIP of files, in the form's field 'file'.")
    print_ = None if key is None else Key(key, await asyncio.to_thread(wanted.fingerprint, *(data for _, data in uploads)))
    batch_id = new_id()
    like = Job("", owner, desk.now(), wanted.kept(), 0, priority=wanted.priority, batch_id=batch_id,
               device=device_of(request, wanted), webhook=wanted.webhook, fair_key=fair_key_of(request))  # fmt: skip
    ids = sorted(new_id() for _ in files)  # their order is that of the files
    jobs = [(_job(file, replace(like, id=id)), file.data) for id, file in zip(ids, files, strict=True)]
    accepted, new = await desk.accept_batch(owner, batch_id, jobs, print_)
    response.headers["Location"] = f"/v1/batch/{accepted}"
    if not new:
        response.headers["Idempotent-Replayed"] = "true"
    return await one(accepted, services, owner)


async def _read(request: Request, settings: Settings) -> tuple[list[tuple[str, bytes]], JobRequest]:
    kind = request.headers.get("content-type", "")
    if kind.split(";")[0].strip().lower() != "multipart/form-data":
        raise UnsupportedMedia("A batch is multipart/form-data.", hint="Send a form with files, or with a ZIP of files.")
    body = limited(request, most_bytes(settings))
    parts = await read_parts(kind, body.stream(), settings.jobs.batch_files + 64)
    uploads = [(part.filename, bytes(part.data)) for part in parts if part.is_file and (part.data or part.filename)]
    return uploads, valid(JobRequest, form_values(part for part in parts if not part.is_file))


def most_bytes(settings: Settings) -> int:
    """Of the whole request."""
    return int(settings.jobs.batch_mb * 1e6) + settings.jobs.batch_files * _HEADER + BESIDE


def _job(file: File, like: Job) -> Job:
    e = file.failure
    error = None if e is None else {"code": e.code, "detail": e.message, "hint": e.hint}
    return replace(like, name=file.name, size=len(file.data or b""), error=error)


@router.get("/{id}", summary="How a batch stands")
async def one(id: Id, services: TheServices, owner: TheOwner) -> BatchAnswer:
    """How many of its jobs are in which state."""
    counts = await services.store.query(batches.counts, owner, id)
    if not counts:
        raise NotFound("There is no such batch.")
    return BatchAnswer.of(id, counts)


@router.delete("/{id}", summary="Cancel what is left of a batch")
async def cancel(id: Id, services: TheServices, owner: TheOwner) -> BatchAnswer:
    """What is done stays done."""
    await services.desk.cancel_batch(owner, id)
    return await one(id, services, owner)


@router.get("/{id}/results", summary="The results of a batch as JSON Lines or CSV", response_class=Response)
async def results(id: Id, services: TheServices, owner: TheOwner, format: Literal["jsonl", "csv"] = "jsonl") -> Response:
    """In the order in which the files were sent. JSON Lines: a job a line, as /v1/jobs answers it. CSV: a row a file.

    With `store.ephemeral` results can be fetched once.
    """
    await one(id, services, owner)
    told: list[str] = []
    form = _json_lines if format == "jsonl" else _csv
    lines = form(lambda: _noted(services.desk.results_of(owner, id), told))
    media = "application/jsonl" if format == "jsonl" else "text/csv; charset=utf-8"
    headers = {"Content-Disposition": f'attachment; filename="{id}.{format}"'}
    afterwards = None if services.ephemeral is None else BackgroundTask(services.ephemeral.fetched, owner, told)
    return StreamingResponse(lines, media_type=media, headers=headers, background=afterwards)


async def _noted(found: AsyncIterator[Seen], told: list[str]) -> AsyncIterator[Seen]:
    """The same; `told` gets the ids of those that are over."""
    async for seen in found:
        if seen.job.status in OVER:
            told.append(seen.job.id)
        yield seen


async def _json_lines(results: Callable[[], AsyncIterator[Seen]]) -> AsyncIterator[bytes]:
    async for seen in results():
        answer = await asyncio.to_thread(JobAnswer.of, seen)
        yield answer.model_dump_json().encode() + b"\n"


async def _csv(results: Callable[[], AsyncIterator[Seen]]) -> AsyncIterator[bytes]:
    """Twice through the batch: the columns are the fields of all of its results."""
    keys: dict[str, None] = {}
    async for seen in results():
        if seen.result is not None:
            keys |= dict.fromkeys(field.key for field in seen.result.fields)
    yield "\ufeff".encode() + _row(["file", "job", "status", *(keys or ["text"]), "error"])
    async for seen in results():
        values: dict[str, Any] = {"text": "" if seen.result is None else seen.result.text}
        if seen.result is not None and keys:
            values = fields_of(seen.result)
        error = "" if seen.job.error is None else seen.job.error["code"]
        yield _row([seen.job.name, seen.job.id, seen.job.status, *(values.get(key) for key in keys or ["text"]), error])


def _row(values: list[Any]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerow([cell(value) for value in values])
    return out.getvalue().encode()
