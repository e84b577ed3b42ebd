"""`POST /v1/chat/completions`: whatever reader serves, for every program that speaks to OpenAI."""

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
from api.request_body import device_from, parse_json_body
from api.schemas.chat import ChatCompletion, ChatRequest
from hunyuanocr.pipeline import Request as Reading
from hunyuanocr.pipeline.request import random_id
from hunyuanocr.types import Progress, Result, TextDelta

_PICTURE = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/4AAQ…"}}
_EXAMPLE: dict[str, Any] = {
    "model": "any", "messages": [{"role": "user", "content": [{"type": "text", "text": "提取总金额和日期"}, _PICTURE]}],
}  # fmt: skip
_ERROR = {"schema": {"type": "object", "properties": {"error": {"type": "object"}}}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"description": "With `stream`: chunks, then [DONE]."}}}},
    "4XX": {"description": "Errors in OpenAI's form.", "content": {"application/json": _ERROR}},
    "5XX": {"description": "So are these; 503 says when to come back.", "content": {"application/json": _ERROR}},
}
Part = TypeVar("Part", TextDelta | Progress | Result, Result)
router = APIRouter(tags=["openai"])


def _body() -> dict[str, Any]:
    schema = ChatRequest.model_json_schema(by_alias=True)
    schema = _inlined(schema, schema.pop("$defs"))
    return {"required": True, "content": {"application/json": {"schema": schema, "example": _EXAMPLE}}}


def _inlined(part: Any, named: dict[str, Any]) -> Any:
    """The schema without references, which would point to places that the reference of all routes does not have."""
    if isinstance(part, list):
        return [_inlined(each, named) for each in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _inlined(named[part["$ref"].rsplit("/", 1)[1]], named)
    return {key: _inlined(value, named) for key, value in part.items()}


@router.post(
    OPENAI_PATH, response_model=ChatCompletion, summary="Read pictures, in OpenAI's form",
    openapi_extra={"requestBody": _body()}, responses=_ANSWERS,
)  # fmt: skip
async def completions(
    request: Request, pipeline: PipelineDep, services: ServicesDep, settings: SettingsDep, owner: OwnerDep
) -> Response:
    """For OpenAI's clients and all that speak like them: base_url is `http://<this machine>:<port>/v1`, the key yours.

    Pictures and PDFs are data URIs in the latest message that has some; several are read as the pages of one document. The
    user's words say what is wanted, as in `/v1/ocr`. The answer's content is the text, or JSON where fields are asked for. With
    `response_format` json_schema the fields are the schema's properties, and the content fits the schema. Decoding is greedy
    whatever `temperature` says. A reader that is no language model counts no tokens. Words without any picture, as programs send
    them to try the connection, are answered by a sentence that asks for one.
    """
    wanted = await parse_json_body(request, settings.images.max_bytes, ChatRequest)
    created, model = int(time.time()), pipeline.backend.model
    if (words := reply_without_image(wanted)) is not None:
        return await _say(words, wanted, created, model)
    asked = await asyncio.to_thread(parse_chat_request, wanted)
    reading = Reading(asked.images[0], asked.task, owner=owner, more=asked.images[1:], client=fair_key_of(request))
    request.state.made = f"/v1/records/{reading.id}"
    record = partial(
        services.recorder.record, owner=owner, source="chat", instruction=asked.instruction, device=device_from(request),
        image=asked.images[0],
    )  # fmt: skip
    if wanted.stream:
        chunks = _chunks(wanted, reading.id, created, model, live=asked.task.kind in LIVE and not wanted.wants_json)
        parts = pipeline.stream(reading)
        return await sse.start_stream(_events(parts if chunks.live else _whole(parts), record, chunks, request.state.request_id))
    result = await record(await cancel_on_disconnect(request, pipeline.run(reading)))
    return Response(to_completion(result, created, as_json=wanted.wants_json).model_dump_json(), media_type="application/json")


def _chunks(wanted: ChatRequest, id: str, created: int, model: str, *, live: bool = False) -> ChunkBuilder:
    return ChunkBuilder(f"chatcmpl-{id}", created, model, live=live, as_json=wanted.wants_json, with_usage=wanted.wants_usage)


async def _say(words: str, wanted: ChatRequest, created: int, model: str) -> Response:
    """An answer that no reader is needed for."""
    id = random_id()
    if not wanted.stream:
        return Response(text_completion(words, id, created, model).model_dump_json(), media_type="application/json")

    async def events() -> AsyncGenerator[bytes, None]:
        for chunk in (*_chunks(wanted, id, created, model).finish_text(words), "[DONE]"):
            yield sse.format_event(chunk)

    return await sse.start_stream(events())


async def _whole(parts: AsyncGenerator[TextDelta | Progress | Result, None]) -> AsyncGenerator[Result, None]:
    """The answer alone, so that the wait for it is kept alive, whatever is written meanwhile."""
    async with aclosing(parts):
        async for part in parts:
            if isinstance(part, Result):
                yield part


async def _events(
    parts: AsyncGenerator[Part, None], record: Callable[[Result], Awaitable[Result]], chunks: ChunkBuilder, request_id: str
) -> AsyncGenerator[bytes, None]:
    begun = False
    try:
        async with aclosing(sse.with_keepalive(parts)) as paced:
            async for part in paced:
                if isinstance(part, (TextDelta, Result)):
                    for chunk in chunks.finish(await record(part)) if isinstance(part, Result) else chunks.delta(part.text):
                        yield sse.format_event(chunk)
                else:
                    yield sse.KEPT_ALIVE
                begun = True
        yield sse.format_event("[DONE]")
    except Exception as e:
        if not begun:
            raise  # there is still a status to tell it with
        error = errors.to_client_error(e)
        yield sse.format_event(openai_error(error_payload(error, request_id), status_of(error)))
