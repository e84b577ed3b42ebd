"""Convert OpenAI's chat requests to images and a Task, and a Result to a chat completion."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from api.base64_images import decode_base64
from api.schemas.chat import ChatCompletion, ChatMessage, ChatRequest, Choice, Message, ResponseFormat
from hunyuanocr import types as t
from hunyuanocr.errors import EmptyInput, InvalidValue
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.result_schema import Usage, fields_object
from hunyuanocr.types import Result, Task, TaskKind

_NO_USAGE = t.Usage()
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_REPLY_EN = "This service recognises images. Send an image together with your instruction."
_REPLY_ZH = "我只能识别图片里的内容。请把图片和要求一起发给我。"
LIVE = frozenset({TaskKind.READ, TaskKind.FREE, TaskKind.TRANSLATE, TaskKind.SUBTITLES, TaskKind.PARSE, TaskKind.TABLE})


@dataclass(frozen=True)
class ChatTask:
    """Images and task of a conversation."""

    images: tuple[bytes, ...]
    instruction: str
    task: Task


def parse_chat_request(request: ChatRequest) -> ChatTask:
    """Return the images of the latest message that has any, and the task of the user's latest text.

    Without a user text, the text of the system message is the instruction. Blocking. Raises EmptyInput, RemoteImageRefused,
    InvalidBase64, InvalidValue, and the errors of `parse_instruction`.
    """
    if request.n not in (None, 1) or request.tools:
        raise InvalidValue("'n' must be 1, and 'tools' is not supported.", hint="Omit 'n' and 'tools'.")
    images = next((urls for message in reversed(request.messages) if (urls := message.images())), [])
    if not images:
        raise EmptyInput("No message has an image.", hint="Send a part of type image_url whose url is a data URI.")
    instruction = _instruction(request.messages)
    task = parse_instruction(instruction, schema=_schema(request.response_format))
    limits = [n for n in (request.max_tokens, request.max_completion_tokens) if n is not None]
    return ChatTask(tuple(map(decode_base64, images)), instruction, replace(task, max_tokens=min(limits, default=None)))


def reply_without_image(request: ChatRequest) -> str | None:
    """Return a fixed reply to a conversation without images, in its language; None if it has images or requests JSON.

    Connection tests (of Dify and LangChain, for example) send text only and expect a message.
    """
    if request.wants_json or request.n not in (None, 1) or request.tools or any(message.images() for message in request.messages):
        return None
    return _REPLY_ZH if _CHINESE.search(_instruction(request.messages)) else _REPLY_EN


def _instruction(messages: Sequence[Message]) -> str:
    latest = next((m.text() for m in reversed(messages) if m.role == "user"), "")
    return latest or next((text for m in messages if m.role in ("system", "developer") and (text := m.text())), "")


def _schema(form: ResponseFormat | None) -> dict[str, Any] | None:
    if form is None or form.type != "json_schema":
        return None
    if form.json_schema is None or form.json_schema.json_schema is None:
        raise InvalidValue("'response_format' of type json_schema has no schema.", hint="Send the schema in json_schema.schema.")
    return form.json_schema.json_schema


def message_content(result: Result, *, as_json: bool) -> str:
    """Return the content of the message: the text, the extracted fields as JSON, or for `spot` the lines with their boxes."""
    if result.task is TaskKind.EXTRACT:
        return _to_json(fields_object(result))
    if result.task is TaskKind.SPOT:
        return _to_json({"lines": [{"text": n.text, "box": n.box, "page": n.page} for n in result.lines]})
    return _to_json({"text": result.text}) if as_json else result.text


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def to_completion(result: Result, created: int, *, as_json: bool) -> ChatCompletion:
    """Return the result as a completion; `created` is Unix time in seconds."""
    content = message_content(result, as_json=as_json)
    return text_completion(content, result.id, created, result.model, usage=result.usage, finish=_finish_reason(result))


def text_completion(
    content: str, id: str, created: int, model: str, *, usage: t.Usage = _NO_USAGE, finish: Literal["stop", "length"] = "stop"
) -> ChatCompletion:
    """Return a completion with this content."""
    choice = Choice(message=ChatMessage(content=content), finish_reason=finish)
    return ChatCompletion(id=f"chatcmpl-{id}", created=created, model=model, choices=[choice], usage=Usage.of(usage))


@dataclass
class ChunkBuilder:
    """Build the chunks of one streamed response. `live`: send text while it is generated, instead of at the end."""

    id: str
    created: int
    model: str
    live: bool
    as_json: bool
    with_usage: bool
    sent: str = ""
    started: bool = False

    def delta(self, text: str) -> Iterator[dict[str, Any]]:
        """Yield a chunk for generated text, if `live`. Otherwise the raw text differs from the content of the response."""
        if self.live and text:
            self.sent += text
            yield self._chunk({"content": text})

    def finish(self, result: Result) -> Iterator[dict[str, Any]]:
        """Yield the rest of the content, the finish reason and the token counts."""
        return self.finish_text(message_content(result, as_json=self.as_json), result.usage, _finish_reason(result))

    def finish_text(self, content: str, usage: t.Usage = _NO_USAGE, finish: str = "stop") -> Iterator[dict[str, Any]]:
        """Yield the same chunks for content that is complete."""
        if content.startswith(self.sent) and len(content) > len(self.sent):
            yield self._chunk({"content": content[len(self.sent) :]})
        yield self._chunk({}, finish)
        if self.with_usage:
            yield self._frame([]) | {"usage": Usage.of(usage).model_dump()}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        if not self.started:
            delta = {"role": "assistant"} | delta
            self.started = True
        return self._frame([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])

    def _frame(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        head = {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}
        return head | {"choices": choices} | ({"usage": None} if self.with_usage else {})


def _finish_reason(result: Result) -> Literal["stop", "length"]:
    return "length" if result.truncated else "stop"
