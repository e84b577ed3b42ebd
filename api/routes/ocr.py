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

from api import errors, sse
from api.deps import OwnerDep, PipelineDep, ServicesDep, SettingsDep, cancel_on_disconnect, fair_key_of
from api.errors import error_payload
from api.openapi import ERROR_RESPONSES, openapi_request_body
from api.request_body import device_from, parse_upload
from api.schemas.common import ErrorResponse
from api.schemas.ocr import FieldsResponse, OcrRequest, OcrResponse, fields_object
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Request as Reading
from hunyuanocr.types import Progress, Result, Task, TextDelta

_EVENTS: dict[str, Any] = {
    "text/event-stream": {  # of no type: some programs take it for the stream, a string, others for one event, an object
        "schema": {"description": "With `stream=true`: events `delta`, `result`, `error`."},
        "example": 'event: delta\ndata: {"text":"TOTAL 36.80"}\n\nevent: result\ndata: {"id":"…","success":true}\n\n',
    }
}


_ANSWERS: dict[int | str, dict[str, Any]] = {
    s: {"model": ErrorResponse, "description": words} for s, words in ERROR_RESPONSES.items()
}
_ANSWERS[200] = {"content": _EVENTS}


router = APIRouter(tags=["ocr"])


@router.post(
    "/v1/ocr", response_model=OcrResponse | FieldsResponse, openapi_extra={"requestBody": openapi_request_body(OcrRequest)},
    responses=_ANSWERS,
    summary="Read one picture or document",
)  # fmt: skip
async def ocr(request: Request, pipeline: PipelineDep, services: ServicesDep, settings: SettingsDep, owner: OwnerDep) -> Response:
    """Send a picture and say what is wanted; get text, fields with the place each stands at, and lines with boxes.

    Multipart with `file` (or `image`, `image_file`), or JSON with base64 in `image` (or `file`).
    `response=fields` answers the fields object alone. With `stream=true` the answer is server-sent events: `delta` with a piece
    of text as it is written (none by a reader that writes all at once) and `progress` after each page of several, then one
    `result` with the answer, or one `error` with the body that every error has.
    """
    upload = await parse_upload(request, settings.images.max_bytes, OcrRequest)
    wanted = upload.params
    reading = Reading(upload.data, await _task(wanted), owner=owner, client=fair_key_of(request))
    request.state.made = f"/v1/records/{reading.id}"
    record = partial(
        services.recorder.record, owner=owner, source="ocr", instruction=wanted.instruction or "",
        device=device_from(request, wanted), image=upload.data,
    )  # fmt: skip
    if wanted.stream:
        return await sse.start_stream(_events(pipeline.stream(reading), record, wanted, request.state.request_id))
    result = await record(await cancel_on_disconnect(request, pipeline.run(reading)))
    return Response(_answer(result, wanted), media_type="application/json")


def _answer(result: Result, wanted: OcrRequest) -> str:
    if wanted.response == "fields":
        return json.dumps(fields_object(result), ensure_ascii=False)
    return OcrResponse.of(result).model_dump_json()


async def _events(
    parts: AsyncGenerator[TextDelta | Progress | Result, None], record: Callable[[Result], Awaitable[Result]], wanted: OcrRequest,
    request_id: str,
) -> AsyncGenerator[bytes, None]:  # fmt: skip
    begun = False
    try:
        async with aclosing(sse.with_keepalive(parts)) as paced:
            async for part in paced:
                if isinstance(part, Result):
                    yield sse.format_event(_answer(await record(part), wanted), "result")
                elif isinstance(part, TextDelta):
                    yield sse.format_event({"text": part.text}, "delta")
                else:
                    yield sse.KEPT_ALIVE if part is None else sse.format_event(asdict(part), "progress")
                begun = True
    except Exception as e:
        if not begun:
            raise  # there is still a status to tell it with
        yield sse.format_event(error_payload(errors.to_client_error(e), request_id).model_dump(exclude_none=True), "error")


async def _task(wanted: OcrRequest) -> Task:
    """In a thread: a long sentence or schema takes milliseconds that other requests should not wait for."""
    return await asyncio.to_thread(
        parse_instruction, wanted.instruction or "", task=wanted.task, fields=wanted.fields, schema=wanted.json_schema,
        language=wanted.language, evidence=wanted.evidence,
    )  # fmt: skip


router.add_api_route("/ocr", ocr, methods=["POST"], include_in_schema=False)
