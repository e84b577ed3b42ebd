"""`/v1/records`: search, export and delete stored results."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import Field

from api import exports
from api.deps import OwnerDep, ServicesDep, cancel_on_disconnect
from api.errors import ErrorResponse
from api.exports import ExportLimits, export_limits
from api.openapi import operation_id
from api.schemas.records import Record, RecordDetail, RecordFilter, RecordList, RecordPageQuery, next_cursor
from hunyuanocr.errors import NotFound
from hunyuanocr.images import sniff
from hunyuanocr.services.retention import delete_records
from hunyuanocr.store import records

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorResponse, "description": "Not found, or the store is disabled."},
    422: {"model": ErrorResponse, "description": "Invalid parameter."},
    503: {"model": ErrorResponse, "description": "Database unavailable. Retry after `Retry-After` seconds."},
}
router = APIRouter(prefix="/v1/records", tags=["records"], responses=ERROR_RESPONSES, generate_unique_id_function=operation_id)

_IMAGE_MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "BMP": "image/bmp",
    "GIF": "image/gif",
    "WebP": "image/webp",
    "TIFF": "image/tiff",
    "HEIC": "image/heic",
    "AVIF": "image/avif",
    "PDF": "application/pdf",
}
_EXPORT_MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class ExportQuery(RecordFilter):
    """Search conditions and file format."""

    format: Literal["csv", "xlsx", "jsonl"] = Field("csv", description="File format.")


@router.get("", summary="Search records")
async def list_records(query: Annotated[RecordPageQuery, Query()], services: ServicesDep, owner: OwnerDep) -> RecordList:
    """Search by text, field, value, time, device, source or task. Returns records newest first."""
    found = await services.store.read(records.search, query.search(owner), query.limit + 1, query.after())
    page = found[: query.limit]
    cursor = next_cursor(page[-1]) if len(found) > query.limit else None
    return RecordList(data=[Record.of(record) for record in page], next=cursor)


@router.get("/export", summary="Export records", response_class=Response)
async def export_records(
    request: Request,
    query: Annotated[ExportQuery, Query()],
    services: ServicesDep,
    owner: OwnerDep,
    limits: Annotated[ExportLimits, Depends(export_limits)],
) -> Response:
    """Download the records of a search as CSV, XLSX or JSON Lines. CSV and XLSX have a column for each field; JSON Lines contain
    the whole results.
    """
    database, conditions = services.store, query.search(owner)
    name = f"records-{datetime.now().astimezone():%Y%m%d-%H%M%S}.{query.format}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    rows = exports.iter_rows(database, conditions, limits.page_size)
    if query.format == "xlsx":  # the directory of the ZIP container is written last, so the file is sent when it is complete
        file = await cancel_on_disconnect(request, exports.write_xlsx(rows, services.data, limits.max_rows))
        headers["Content-Length"] = str(file.seek(0, os.SEEK_END))
        file.seek(0)
        return StreamingResponse(exports.iter_file(file), headers=headers, media_type=_EXPORT_MEDIA_TYPES["xlsx"])
    body = exports.stream_jsonl(database, conditions, limits.page_size) if query.format == "jsonl" else exports.stream_csv(rows)
    return StreamingResponse(await _prefetch(body), headers=headers, media_type=_EXPORT_MEDIA_TYPES[query.format])


async def _prefetch(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Produce the first part before the response starts, so that a database failure gets its status code."""
    first = await anext(body, b"")

    async def rest() -> AsyncIterator[bytes]:
        yield first
        async for part in body:
            yield part

    return rest()


@router.get("/{id}", summary="Get a record with the whole result")
async def get_record(id: str, services: ServicesDep, owner: OwnerDep) -> RecordDetail:
    """Records of other owners return 404."""
    found = await services.store.read(records.get, owner, id)
    if found is None:
        raise _not_found()
    return await asyncio.to_thread(RecordDetail.from_stored, *found)


@router.get("/{id}/image", summary="Get the image of a record", response_class=Response)
async def get_record_image(id: str, services: ServicesDep, owner: OwnerDep) -> Response:
    """Return the image as it was sent, if the setting `store.keep_images` is on."""
    found = await services.store.read(records.get, owner, id)
    if found is None:
        raise _not_found()
    name = found[0].image
    path = services.recorder.pictures.path(name) if name else None
    try:
        data = await asyncio.to_thread(path.read_bytes) if path else None
    except FileNotFoundError:  # stored by another server that shares the database, or just deleted
        data = None
    if data is None:
        raise NotFound(
            "The image of this record is not stored.", hint="Images are stored only if the setting 'store.keep_images' is on."
        )
    media_type = _IMAGE_MEDIA_TYPES.get(sniff(data) or "", "application/octet-stream")
    return Response(
        data, media_type=media_type, headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"}
    )


@router.delete("/{id}", status_code=204, summary="Delete a record and its image")
async def delete_record(id: str, services: ServicesDep, owner: OwnerDep) -> None:
    """Delete the record permanently: the result, the image, the text of its job, and data queued for HQ.

    Data that HQ has already received stays there.
    """
    if not await services.store.write(delete_records, services.recorder.pictures, owner, [id]):
        raise _not_found()
    services.pipeline.cache.forget(owner)  # the cache must not return the deleted result for the same image
    await asyncio.to_thread(services.store.truncate_wal)


def _not_found() -> NotFound:
    return NotFound("Record not found.")
