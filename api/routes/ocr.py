"""`POST /v1/ocr`, and `/ocr`, which programs in shops have used for years."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api import sse
from api.deps import TheOwner, ThePipeline, TheServices, TheSettings, fair_key_of, while_connected
from api.errors import told_later
from api.params import OcrRequest, device_of
from api.reading import read_upload
from api.schemas import ErrorAnswer, FieldsAlone, OcrAnswer, fields_of
from hunyuanocr.instructions import understand
from hunyuanocr.pipeline import Request as Reading
from hunyuanocr.types import Progress, Result, Task, TextDelta

FAILURES = {
    400: "No picture, a damaged one, broken base64, two files, a PDF with a password.",
    413: "Too many bytes, pixels or pages.",
    415: "Neither picture nor PDF, or a content type that is not read here.",
    422: "A value that cannot be used, a task that this reader cannot do, a page that does not fit the schema.",
    429: "Too many requests wait; come back after `Retry-After` seconds.",
    500: "The reader broke on this picture.",
    503: "The reader is loading or given a rest; come back after `Retry-After` seconds.",
    504: "The answer was not ready in time; the work was cancelled.",
}
_EVENTS: dict[str, Any] = {
    "text/event-stream": {  # of no type: some programs take it for the stream, a string, others for one event, an object
        "schema": {"description": "With `stream=true`: events `delta`, `result`, `error`."},
        "example": 'event: delta\ndata: {"text":"TOTAL 36.80"}\n\nevent: result\ndata: {"id":"…","success":true}\n\n',
    }
}


_ANSWERS: dict[int | str, dict[str, Any]] = {s: {"model": ErrorAnswer, "description": words} for s, words in FAILURES.items()}
_ANSWERS[200] = {"content": _EVENTS}


def bodies(beside_picture: type[OcrRequest]) -> dict[str, Any]:
    """OpenAPI's description of a request with one picture and what may stand beside it."""
    beside = beside_picture.model_json_schema(by_alias=True)["properties"]
    picture = {"type": "string", "format": "binary", "description": "JPEG, PNG, BMP, GIF, WebP, TIFF, HEIC or PDF."}
    text = {"type": "string", "description": "Raw base64 or a data URI. Alias: `file`."}
    form = {"type": "object", "required": ["file"], "properties": {"file": picture} | beside}
    form["properties"]["schema"] = {"type": "string", "description": "A JSON Schema, as JSON text."}
    form["properties"]["fields"] = {"type": "string", "description": "Names between commas, or a JSON list."}
    example = {"image": "data:image/jpeg;base64,/9j/4AAQ…", "instruction": "提取总金额和日期"}
    json_body = {"type": "object", "required": ["image"], "properties": {"image": text} | beside}
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": form}, "application/json": {"schema": json_body, "example": example}},
    }


router = APIRouter(tags=["ocr"])


@router.post(
    "/v1/ocr", response_model=OcrAnswer | FieldsAlone, openapi_extra={"requestBody": bodies(OcrRequest)}, responses=_ANSWERS,
    summary="Read one picture or document",
)  # fmt: skip
async def ocr(request: Request, pipeline: ThePipeline, services: TheServices, settings: TheSettings, owner: TheOwner) -> Response:
    """Send a picture and say what is wanted; get text, fields with the place each stands at, and lines with boxes.

    Multipart with `file` (or `image`, `image_file`), or JSON with base64 in `image` (or `file`).
    `response=fields` answers the fields object alone. With `stream=true` the answer is server-sent events: `delta` with a piece
    of text as it is written (none by a reader that writes all at once) and `progress` after each page of several, then one
    `result` with the answer, or one `error` with the body that every error has.
    """
    upload = await read_upload(request, settings.images.max_bytes, OcrRequest)
    wanted = upload.wanted
    reading = Reading(upload.data, await _task(wanted), owner=owner, client=fair_key_of(request))
    request.state.made = f"/v1/records/{reading.id}"
    record = partial(
        services.recorder.record, owner=owner, source="ocr", instruction=wanted.instruction or "",
        device=device_of(request, wanted), image=upload.data,
    )  # fmt: skip
    if wanted.stream:
        return await sse.begun(_events(pipeline.stream(reading), record, wanted, request.state.request_id))
    result = await record(await while_connected(request, pipeline.run(reading)))
    return Response(_answer(result, wanted), media_type="application/json")


def _answer(result: Result, wanted: OcrRequest) -> str:
    if wanted.response == "fields":
        return json.dumps(fields_of(result), ensure_ascii=False)
    return OcrAnswer.of(result).model_dump_json()


async def _events(
    parts: AsyncGenerator[TextDelta | Progress | Result, None], record: Callable[[Result], Awaitable[Result]], wanted: OcrRequest,
    request_id: str,
) -> AsyncGenerator[bytes, None]:  # fmt: skip
    begun = False
    try:
        async with aclosing(sse.paced(parts)) as paced:
            async for part in paced:
                if isinstance(part, Result):
                    yield sse.event(_answer(await record(part), wanted), "result")
                elif isinstance(part, TextDelta):
                    yield sse.event({"text": part.text}, "delta")
                else:
                    yield sse.KEPT_ALIVE if part is None else sse.event(asdict(part), "progress")
                begun = True
    except Exception as e:
        if not begun:
            raise  # there is still a status to tell it with
        yield sse.event(told_later(sse.unexpected(e), request_id).model_dump(exclude_none=True), "error")


async def _task(wanted: OcrRequest) -> Task:
    """In a thread: a long sentence or schema takes milliseconds that other requests should not wait for."""
    return await asyncio.to_thread(
        understand, wanted.instruction or "", task=wanted.task, fields=wanted.fields, schema=wanted.json_schema,
        language=wanted.language, evidence=wanted.evidence,
    )  # fmt: skip


router.add_api_route("/ocr", ocr, methods=["POST"], include_in_schema=False)
