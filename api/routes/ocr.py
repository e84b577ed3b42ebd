"""`POST /v1/ocr`, and its alias `/ocr` for existing clients."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api import errors, sse
from api.deps import OwnerDep, PipelineDep, ServicesDep, SettingsDep, cancel_on_disconnect, fair_key_of
from api.errors import ErrorResponse, error_payload
from api.openapi import ERROR_RESPONSES, openapi_request_body, operation_id
from api.request_body import device_from, parse_upload
from api.schemas.ocr import FieldsResponse, OcrRequest
from hunyuanocr.pipeline import Request as PipelineRequest
from hunyuanocr.result_schema import OcrResponse, fields_object
from hunyuanocr.types import Progress, Result, TextDelta

_EVENTS: dict[str, Any] = {
    "text/event-stream": {  # without a type: clients disagree whether it is the stream (a string) or one event (an object)
        "schema": {"description": "With `stream=true`: events `delta`, `progress`, `result`, `error`."},
        "example": 'event: delta\ndata: {"text":"TOTAL 36.80"}\n\nevent: result\ndata: {"id":"…","success":true}\n\n',
    }
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": text} for status, text in ERROR_RESPONSES.items()
}
_RESPONSES[200] = {"content": _EVENTS}

router = APIRouter(tags=["ocr"], generate_unique_id_function=operation_id)


@router.post(
    "/v1/ocr",
    response_model=OcrResponse | FieldsResponse,
    openapi_extra={"requestBody": openapi_request_body(OcrRequest)},
    responses=_RESPONSES,
    summary="Recognise one image or document",
)
async def recognize(
    request: Request, pipeline: PipelineDep, services: ServicesDep, settings: SettingsDep, owner: OwnerDep
) -> Response:
    """Send an image and an instruction; receive the text, the fields with their positions, and the lines with their boxes.

    Send multipart with `file` (or `image`, `image_file`), or JSON with base64 in `image` (or `file`, `image_file`).
    `response=fields` returns the fields object only. `stream=true` returns server-sent events: `delta` with text while it is
    generated (if the backend generates it step by step), `progress` after each page of a document, then one `result` with the
    response, or one `error` with the usual error body.
    """
    upload = await parse_upload(request, settings.images.max_bytes, OcrRequest)
    params = upload.params
    work = PipelineRequest(upload.data, await params.parse_task(), owner=owner, client=fair_key_of(request))
    request.state.created_resource = f"/v1/records/{work.id}"
    record = partial(
        services.recorder.record,
        owner=owner,
        source="ocr",
        instruction=params.instruction or "",
        device=device_from(request, params),
        image=upload.data,
    )

    async def finish(result: Result) -> Result:
        return await record(replace(result, notices=(*result.notices, *upload.notices)))

    if params.stream:
        return await sse.start_stream(_events(pipeline.stream(work), finish, params, request.state.request_id))
    result = await finish(await cancel_on_disconnect(request, pipeline.run(work)))
    return Response(_response_body(result, params), media_type="application/json")


def _response_body(result: Result, params: OcrRequest) -> str:
    if params.response == "fields":
        return json.dumps(fields_object(result), ensure_ascii=False)
    return OcrResponse.of(result).model_dump_json()


async def _events(
    parts: AsyncGenerator[TextDelta | Progress | Result, None],
    record: Callable[[Result], Awaitable[Result]],
    params: OcrRequest,
    request_id: str,
) -> AsyncGenerator[bytes, None]:
    started = False
    try:
        async with aclosing(sse.with_keepalive(parts)) as timed_parts:
            async for part in timed_parts:
                if isinstance(part, Result):
                    yield sse.format_event(_response_body(await record(part), params), "result")
                elif isinstance(part, TextDelta):
                    yield sse.format_event({"text": part.text}, "delta")
                else:
                    yield sse.KEEPALIVE_EVENT if part is None else sse.format_event(asdict(part), "progress")
                started = True
    except Exception as e:
        if not started:
            raise  # the status line is not sent yet: the error gets its status
        yield sse.format_event(error_payload(errors.to_client_error(e), request_id).model_dump(exclude_none=True), "error")


router.add_api_route("/ocr", recognize, methods=["POST"], include_in_schema=False)
