"""The wire of OpenAI's chat completions: messages → pictures and a Task, a Result → a message."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from api.request_body import decode_base64
from api.schemas.chat import ChatCompletion, ChatMessage, ChatRequest, Choice, Message, ResponseFormat
from api.schemas.ocr import Usage, fields_object
from hunyuanocr import types as t
from hunyuanocr.errors import EmptyInput, InvalidValue, RemoteImageRefused
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.types import Result, Task, TaskKind

_NOTHING = t.Usage()
_ADDRESS = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]{0,20}://")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_SEND_ONE = "This is a reader of pictures. Send a picture together with what you want of it."
_SEND_ONE_ZH = "这里是图片阅读服务。请把图片和您的要求一起发来。"
LIVE = frozenset({TaskKind.READ, TaskKind.FREE, TaskKind.TRANSLATE, TaskKind.SUBTITLES, TaskKind.PARSE, TaskKind.TABLE})


@dataclass(frozen=True)
class ChatTask:
    """What a conversation asks for."""

    images: tuple[bytes, ...]
    instruction: str
    task: Task


def parse_chat_request(request: ChatRequest) -> ChatTask:
    """The pictures of the latest message that has some, and what the user's latest words ask of them (a system message's, where
    the user says nothing). Blocking. Raises EmptyInput, RemotePicture, InvalidBase64, InvalidValue, and what `parse_instruction`
    does.
    """
    if request.n not in (None, 1) or request.tools:
        raise InvalidValue("Only one answer is made, and no tools are called.", hint="Leave 'n' and 'tools' out.")
    pictures = next((found for message in reversed(request.messages) if (found := message.images())), [])
    if not pictures:
        raise EmptyInput("No message has a picture.", hint="Send a part of type image_url whose url is a data URI.")
    words = _instruction(request.messages)
    task = parse_instruction(words, schema=_schema(request.response_format))
    bounds = [n for n in (request.max_tokens, request.max_completion_tokens) if n is not None]
    return ChatTask(tuple(map(_decoded, pictures)), words, replace(task, max_tokens=min(bounds, default=None)))


def reply_without_image(request: ChatRequest) -> str | None:
    """The reply to a conversation without any picture, in its language; None where there is one, or where JSON is wanted.

    Programs send such words to see whether somebody answers (Dify's and LangChain's connection tests), and want a message.
    """
    if request.wants_json or request.n not in (None, 1) or request.tools or any(message.images() for message in request.messages):
        return None
    return _SEND_ONE_ZH if _CHINESE.search(_instruction(request.messages)) else _SEND_ONE


def _instruction(messages: Sequence[Message]) -> str:
    latest = next((m.text() for m in reversed(messages) if m.role == "user"), "")
    return latest or next((words for m in messages if m.role in ("system", "developer") and (words := m.text())), "")


def _schema(form: ResponseFormat | None) -> dict[str, Any] | None:
    if form is None or form.type != "json_schema":
        return None
    if form.json_schema is None or form.json_schema.json_schema is None:
        raise InvalidValue("'response_format' is json_schema, but has no schema.", hint="Send it in json_schema.schema.")
    return form.json_schema.json_schema


def _decoded(url: str) -> bytes:
    if _ADDRESS.match(url[:64]):
        raise RemoteImageRefused("The picture is an address, and this machine fetches nothing.")
    return decode_base64(url)


def message_content(result: Result, *, as_json: bool) -> str:
    """What a person would want to see of the answer: the text, or the fields as JSON; lines with their boxes where these were
    asked for.
    """
    if result.task is TaskKind.EXTRACT:
        return _compact(fields_object(result))
    if result.task is TaskKind.SPOT:
        return _compact({"lines": [{"text": n.text, "box": n.box, "page": n.page} for n in result.lines]})
    return _compact({"text": result.text}) if as_json else result.text


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def to_completion(result: Result, created: int, *, as_json: bool) -> ChatCompletion:
    """The whole answer at once."""
    words = message_content(result, as_json=as_json)
    return text_completion(words, result.id, created, result.model, usage=result.usage, finish=_finish(result))


def text_completion(
    content: str, id: str, created: int, model: str, *, usage: t.Usage = _NOTHING, finish: Literal["stop", "length"] = "stop"
) -> ChatCompletion:
    """A completion of these words."""
    choice = Choice(message=ChatMessage(content=content), finish_reason=finish)
    return ChatCompletion(id=f"chatcmpl-{id}", created=created, model=model, choices=[choice], usage=Usage.of(usage))


@dataclass
class ChunkBuilder:
    """The pieces of one streamed answer. With `live` they are told while they are written, else at the end."""

    id: str
    created: int
    model: str
    live: bool
    as_json: bool
    with_usage: bool
    told: str = ""
    begun: bool = False

    def delta(self, text: str) -> Iterator[dict[str, Any]]:
        """A delta of the reader; nothing, where its raw text is not the answer's."""
        if self.live and text:
            self.told += text
            yield self._chunk({"content": text})

    def finish(self, result: Result) -> Iterator[dict[str, Any]]:
        """What has not been told yet, how it ended, what it took."""
        return self.finish_text(message_content(result, as_json=self.as_json), result.usage, _finish(result))

    def finish_text(self, content: str, usage: t.Usage = _NOTHING, finish: str = "stop") -> Iterator[dict[str, Any]]:
        """The same for a whole answer in words."""
        if content.startswith(self.told) and len(content) > len(self.told):
            yield self._chunk({"content": content[len(self.told) :]})
        yield self._chunk({}, finish)
        if self.with_usage:
            yield self._frame([]) | {"usage": Usage.of(usage).model_dump()}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        if not self.begun:
            delta = {"role": "assistant"} | delta
            self.begun = True
        return self._frame([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])

    def _frame(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        head = {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}
        return head | {"choices": choices} | ({"usage": None} if self.with_usage else {})


def _finish(result: Result) -> Literal["stop", "length"]:
    return "length" if result.truncated else "stop"
