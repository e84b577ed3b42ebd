"""`/v1/records`: what was read, to look up, to take away as a file, and to delete."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from api import exports
from api.deps import OwnerDep, ServicesDep, cancel_on_disconnect
from api.schemas.common import ErrorResponse
from api.schemas.records import Record, RecordDetail, RecordFilter, RecordList, RecordPageQuery, next_cursor
from hunyuanocr.errors import NotFound
from hunyuanocr.images import sniff
from hunyuanocr.services.retention import delete_records
from hunyuanocr.store import records

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorResponse, "description": "No such record of yours, or nothing is kept here."},
    422: {"model": ErrorResponse, "description": "A value that cannot be used."},
    503: {"model": ErrorResponse, "description": "The database does not answer; come back after `Retry-After` seconds."},
}
router = APIRouter(prefix="/v1/records", tags=["records"], responses=ERROR_RESPONSES)

_MEDIA = {
    "JPEG": "image/jpeg", "PNG": "image/png", "BMP": "image/bmp", "GIF": "image/gif", "WebP": "image/webp", "TIFF": "image/tiff",
    "HEIC": "image/heic", "PDF": "application/pdf",
}  # fmt: skip
_FILES = {
    "csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}  # fmt: skip


class ExportQuery(RecordFilter):
    """A search and the form of its file."""

    format: Literal["csv", "xlsx", "jsonl"] = "csv"


@router.get("", summary="Search records, the newest first")
async def list_records(asked: Annotated[RecordPageQuery, Query()], services: ServicesDep, owner: OwnerDep) -> RecordList:
    """By text, field and value, time, device, source, task. `next` leads to the page after."""
    found = await services.store.read(records.search, asked.search(owner), asked.limit + 1, asked.after())
    page = found[: asked.limit]
    more = next_cursor(page[-1]) if len(found) > asked.limit else None
    return RecordList(data=[Record.of(record) for record in page], next=more)


@router.get("/export", summary="Records as CSV, XLSX or JSON Lines", response_class=Response)
async def export(request: Request, asked: Annotated[ExportQuery, Query()], services: ServicesDep, owner: OwnerDep) -> Response:
    """The same search as a file with a column a field. JSON Lines hold the whole answers."""
    database, wanted = services.store, asked.search(owner)
    name = f"records-{datetime.now().astimezone():%Y%m%d-%H%M%S}.{asked.format}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if asked.format == "xlsx":  # its table of contents is written last: it is sent when it is whole
        file = await cancel_on_disconnect(request, exports.write_xlsx(exports.iter_rows(database, wanted), services.data))
        headers["Content-Length"] = str(file.seek(0, os.SEEK_END))
        file.seek(0)
        return StreamingResponse(exports.iter_file(file), headers=headers, media_type=_FILES["xlsx"])
    whole = asked.format == "jsonl"
    body = exports.stream_jsonl(database, wanted) if whole else exports.stream_csv(exports.iter_rows(database, wanted))
    return StreamingResponse(await _started(body), headers=headers, media_type=_FILES[asked.format])


async def _started(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """With its first part made already: a database that is away is told with its status, not in the middle."""
    first = await anext(body, b"")

    async def rest() -> AsyncIterator[bytes]:
        yield first
        async for part in body:
            yield part

    return rest()


@router.get("/{id}", summary="One record, with the whole answer")
async def get_record(id: str, services: ServicesDep, owner: OwnerDep) -> RecordDetail:
    """404 also for another owner's."""
    found = await services.store.read(records.get, owner, _sane(id))
    if found is None:
        raise _none()
    return await asyncio.to_thread(RecordDetail.whole, *found)


@router.get("/{id}/image", summary="The picture of a record, if pictures are kept", response_class=Response)
async def get_record_image(id: str, services: ServicesDep, owner: OwnerDep) -> Response:
    """As it was sent."""
    found = await services.store.read(records.get, owner, _sane(id))
    if found is None:
        raise _none()
    name = found[0].image
    path = services.recorder.pictures.path(name) if name else None
    try:
        data = await asyncio.to_thread(path.read_bytes) if path else None
    except FileNotFoundError:  # kept by another machine at the same database, or gone a moment ago
        data = None
    if data is None:
        raise NotFound("The picture of this record is not kept.", hint="Pictures are kept where 'store.keep_images' says so.")
    media = _MEDIA.get(sniff(data) or "", "application/octet-stream")
    return Response(data, media_type=media, headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"})


@router.delete("/{id}", status_code=204, summary="Delete a record and its picture")
async def delete_record(id: str, services: ServicesDep, owner: OwnerDep) -> None:
    """For good: rows, picture, the words of its job and what waited to be sent. What HQ has got already stays there."""
    if not await services.store.write(delete_records, services.recorder.pictures, owner, [_sane(id)]):
        raise _none()
    services.pipeline.cache.forget(owner)  # the answer would come back with the same picture
    await asyncio.to_thread(services.store.truncate_wal)


def _sane(id: str) -> str:
    if "\x00" in id:  # PostgreSQL would complain
        raise _none()
    return id


def _none() -> NotFound:
    return NotFound("There is no such record.")
