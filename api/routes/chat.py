"""`POST /v1/chat/completions`: OpenAI-compatible chat completions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api import errors, sse
from api.chat_completions import LIVE, ChunkBuilder, parse_chat_request, reply_without_image, text_completion, to_completion
from api.deps import OwnerDep, PipelineDep, ServicesDep, SettingsDep, cancel_on_disconnect, fair_key_of
from api.errors import OPENAI_PATH, error_payload, openai_error, status_of
from api.openapi import operation_id
from api.request_body import device_from, parse_json_body
from api.schemas.chat import ChatCompletion, ChatRequest, OpenAIErrorResponse
from hunyuanocr.ids import new_id
from hunyuanocr.pipeline import Request as PipelineRequest
from hunyuanocr.types import Progress, Result, TextDelta

_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/4AAQ…"}}
_EXAMPLE: dict[str, Any] = {
    "model": "any",
    "messages": [{"role": "user", "content": [{"type": "text", "text": "提取总金额和日期"}, _IMAGE]}],
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"description": "With `stream`: chunks, then `[DONE]`."}}}},
    "4XX": {"model": OpenAIErrorResponse, "description": "Client error, in OpenAI's format."},
    "5XX": {"model": OpenAIErrorResponse, "description": "Server error, in OpenAI's format. 503: retry after `Retry-After`."},
}
Part = TypeVar("Part", TextDelta | Progress | Result, Result)
router = APIRouter(tags=["openai"], generate_unique_id_function=operation_id)


def _openapi_body() -> dict[str, Any]:
    schema = ChatRequest.model_json_schema(by_alias=True)
    schema = _resolve_refs(schema, schema.pop("$defs"))
    return {"required": True, "content": {"application/json": {"schema": schema, "example": _EXAMPLE}}}


def _resolve_refs(part: Any, definitions: dict[str, Any]) -> Any:
    """Return the schema with its references resolved: the OpenAPI document does not contain their targets."""
    if isinstance(part, list):
        return [_resolve_refs(each, definitions) for each in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _resolve_refs(definitions[part["$ref"].rsplit("/", 1)[1]], definitions)
    return {key: _resolve_refs(value, definitions) for key, value in part.items()}


@router.post(
    OPENAI_PATH,
    response_model=ChatCompletion,
    summary="Create a chat completion (OpenAI-compatible)",
    openapi_extra={"requestBody": _openapi_body()},
    responses=_RESPONSES,
)
async def create_chat_completion(
    request: Request, pipeline: PipelineDep, services: ServicesDep, settings: SettingsDep, owner: OwnerDep
) -> Response:
    """For OpenAI's clients and compatible ones: set `base_url` to `http://<server>:<port>/v1` and use your API key.

    Send images and PDF files as data URIs. The latest message with images counts; several images are the pages of one document.
    The user's text is the instruction, as in `/v1/ocr`. The content of the response is the text, or JSON if the instruction
    requests fields. With `response_format` of type `json_schema`, the fields are the properties of the schema, and the content
    matches it. Decoding is greedy; `temperature` has no effect. Token counts are 0 unless a language model is active. A
    conversation without images, such as a connection test, gets a fixed reply that requests an image.
    """
    chat_request = await parse_json_body(request, settings.images.max_bytes, ChatRequest)
    created, model = int(time.time()), pipeline.backend.model
    if (reply := reply_without_image(chat_request)) is not None:
        return await _fixed_reply(reply, chat_request, created, model)
    chat_task = await asyncio.to_thread(parse_chat_request, chat_request)
    work = PipelineRequest(
        chat_task.images[0], chat_task.task, owner=owner, more=chat_task.images[1:], client=fair_key_of(request)
    )
    request.state.created_resource = f"/v1/records/{work.id}"
    record = partial(
        services.recorder.record,
        owner=owner,
        source="chat",
        instruction=chat_task.instruction,
        device=device_from(request),
        image=chat_task.images[0],
    )
    if chat_request.stream:
        live = chat_task.task.kind in LIVE and not chat_request.wants_json
        chunks = _chunks(chat_request, work.id, created, model, live=live)
        parts = pipeline.stream(work)
        return await sse.start_stream(
            _events(parts if chunks.live else _result_only(parts), record, chunks, request.state.request_id)
        )
    result = await record(await cancel_on_disconnect(request, pipeline.run(work)))
    return Response(
        to_completion(result, created, as_json=chat_request.wants_json).model_dump_json(), media_type="application/json"
    )


def _chunks(chat_request: ChatRequest, id: str, created: int, model: str, *, live: bool = False) -> ChunkBuilder:
    return ChunkBuilder(
        f"chatcmpl-{id}", created, model, live=live, as_json=chat_request.wants_json, with_usage=chat_request.wants_usage
    )


async def _fixed_reply(reply: str, chat_request: ChatRequest, created: int, model: str) -> Response:
    """Return a response that needs no recognition."""
    id = new_id()
    if not chat_request.stream:
        return Response(text_completion(reply, id, created, model).model_dump_json(), media_type="application/json")

    async def events() -> AsyncGenerator[bytes, None]:
        for chunk in (*_chunks(chat_request, id, created, model).finish_text(reply), "[DONE]"):
            yield sse.format_event(chunk)

    return await sse.start_stream(events())


async def _result_only(parts: AsyncGenerator[TextDelta | Progress | Result, None]) -> AsyncGenerator[Result, None]:
    """Yield the result only. Text deltas are dropped: they would suppress keepalive comments without sending anything."""
    async with aclosing(parts):
        async for part in parts:
            if isinstance(part, Result):
                yield part


async def _events(
    parts: AsyncGenerator[Part, None], record: Callable[[Result], Awaitable[Result]], chunks: ChunkBuilder, request_id: str
) -> AsyncGenerator[bytes, None]:
    started = False
    try:
        async with aclosing(sse.with_keepalive(parts)) as timed_parts:
            async for part in timed_parts:
                if isinstance(part, (TextDelta, Result)):
                    for chunk in chunks.finish(await record(part)) if isinstance(part, Result) else chunks.delta(part.text):
                        yield sse.format_event(chunk)
                else:
                    yield sse.KEEPALIVE_EVENT
                started = True
        yield sse.format_event("[DONE]")
    except Exception as e:
        if not started:
            raise  # the status line is not sent yet: the error gets its status
        error = errors.to_client_error(e)
        yield sse.format_event(openai_error(error_payload(error, request_id), status_of(error)))
