"""The wire of OpenAI's chat completions: messages → pictures and a Task, a Result → a message."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.params import Schema, Text
from api.reading import decode_base64
from api.schemas import UsageAnswer, fields_of
from hunyuanocr.errors import EmptyInput, InvalidValue, RemotePicture
from hunyuanocr.instructions import understand
from hunyuanocr.types import Result, Task, TaskKind, Usage

_MOST_MESSAGES = 200
_MOST_PARTS = 100
_NOTHING = Usage()
_ADDRESS = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]{0,20}://")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_SEND_ONE = "This is a reader of pictures. Send a picture together with what you want of it."
_SEND_ONE_ZH = "这里是图片阅读服务。请把图片和您的要求一起发来。"
LIVE = frozenset({TaskKind.READ, TaskKind.FREE, TaskKind.TRANSLATE, TaskKind.SUBTITLES, TaskKind.PARSE, TaskKind.TABLE})


class _Sent(BaseModel):
    """What clients send; keys that are not known are left alone, for they send many."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class ImageUrl(_Sent):
    """A picture as OpenAI's clients send it."""

    url: str = Field(description="A data URI: `data:image/jpeg;base64,…`. Addresses are refused: nothing is fetched.")


class FilePart(_Sent):
    """A PDF, for instance."""

    file_data: str = Field(description="A data URI.")


class ContentPart(_Sent):
    """A piece of a message: words, a picture, a document."""

    type: Annotated[Text, Field(max_length=40, examples=["text", "image_url", "file"])]
    text: Text | None = None
    image_url: ImageUrl | None = None
    file: FilePart | None = None


class Message(_Sent):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | Annotated[list[ContentPart], Field(max_length=_MOST_PARTS)] | None = None

    def words(self) -> str:
        """Its text parts, one a line."""
        if not isinstance(self.content, list):
            return (self.content or "").strip()
        return "\n".join(part.text.strip() for part in self.content if part.text).strip()

    def pictures(self) -> list[str]:
        """Its pictures and documents, as they were sent. Raises InvalidValue for what is neither."""
        return [found for part in self.content if (found := _picture(part))] if isinstance(self.content, list) else []


class JsonSchemaFormat(_Sent):
    """A JSON Schema, by name."""

    json_schema: Schema | None = Field(None, validation_alias="schema", serialization_alias="schema")


class ResponseFormat(_Sent):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchemaFormat | None = None


class StreamOptions(_Sent):
    """What a stream tells besides the text."""

    include_usage: bool | None = False


class ChatRequest(_Sent):
    """A request in OpenAI's form."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=_MOST_MESSAGES)]
    model: str | None = Field(None, max_length=200, description="Any name: the reader that serves is the one in `/v1/models`.")
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = Field(
        None,
        description="`json_object` answers JSON; `json_schema` extracts the properties of its schema, and the answer fits it.",
    )
    max_tokens: int | None = Field(None, ge=1, description="Most tokens that a language model writes.")
    max_completion_tokens: int | None = Field(None, ge=1, description="The newer name of `max_tokens`.")
    temperature: float | None = Field(
        None, description="Accepted and without effect, like `top_p` and `seed`: decoding is greedy."
    )
    n: int | None = Field(1, description="Only 1: decoding is greedy, so that others would be the same.")
    tools: list[Any] | None = Field(None, description="Not served: a request with tools is refused.")

    @property
    def json_wanted(self) -> bool:
        """Whether the answer must be JSON."""
        return self.response_format is not None and self.response_format.type != "text"

    @property
    def usage_wanted(self) -> bool:
        """Whether the stream ends with the usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


def _picture(part: ContentPart) -> str | None:
    if part.type == "image_url" and part.image_url is not None:
        return part.image_url.url
    if part.type == "file" and part.file is not None:
        return part.file.file_data
    if part.type == "text":
        return None
    raise InvalidValue(f"A part of type '{part.type}' cannot be read here.", hint="Send parts of type text, image_url or file.")


@dataclass(frozen=True)
class Asked:
    """What a conversation asks for."""

    pictures: tuple[bytes, ...]
    instruction: str
    task: Task


def understood(wanted: ChatRequest) -> Asked:
    """The pictures of the latest message that has some, and what the user's latest words ask of them (a system message's, where
    the user says nothing). Blocking. Raises EmptyInput, RemotePicture, InvalidBase64, InvalidValue, and what `understand` does.
    """
    if wanted.n not in (None, 1) or wanted.tools:
        raise InvalidValue("Only one answer is made, and no tools are called.", hint="Leave 'n' and 'tools' out.")
    pictures = next((found for message in reversed(wanted.messages) if (found := message.pictures())), [])
    if not pictures:
        raise EmptyInput("No message has a picture.", hint="Send a part of type image_url whose url is a data URI.")
    words = _instruction(wanted.messages)
    task = understand(words, schema=_schema(wanted.response_format))
    bounds = [n for n in (wanted.max_tokens, wanted.max_completion_tokens) if n is not None]
    return Asked(tuple(map(_decoded, pictures)), words, replace(task, max_tokens=min(bounds, default=None)))


def words_without_picture(wanted: ChatRequest) -> str | None:
    """The reply to a conversation without any picture, in its language; None where there is one, or where JSON is wanted.

    Programs send such words to see whether somebody answers (Dify's and LangChain's connection tests), and want a message.
    """
    if wanted.json_wanted or wanted.n not in (None, 1) or wanted.tools or any(message.pictures() for message in wanted.messages):
        return None
    return _SEND_ONE_ZH if _CHINESE.search(_instruction(wanted.messages)) else _SEND_ONE


def _instruction(messages: Sequence[Message]) -> str:
    latest = next((m.words() for m in reversed(messages) if m.role == "user"), "")
    return latest or next((words for m in messages if m.role in ("system", "developer") and (words := m.words())), "")


def _schema(form: ResponseFormat | None) -> dict[str, Any] | None:
    if form is None or form.type != "json_schema":
        return None
    if form.json_schema is None or form.json_schema.json_schema is None:
        raise InvalidValue("'response_format' is json_schema, but has no schema.", hint="Send it in json_schema.schema.")
    return form.json_schema.json_schema


def _decoded(url: str) -> bytes:
    if _ADDRESS.match(url[:64]):
        raise RemotePicture("The picture is an address, and this machine fetches nothing.")
    return decode_base64(url)


def content_of(result: Result, *, as_json: bool) -> str:
    """What a person would want to see of the answer: the text, or the fields as JSON; lines with their boxes where these were
    asked for.
    """
    if result.task is TaskKind.EXTRACT:
        return _compact(fields_of(result))
    if result.task is TaskKind.SPOT:
        return _compact({"lines": [{"text": n.text, "box": n.box, "page": n.page} for n in result.lines]})
    return _compact({"text": result.text}) if as_json else result.text


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class ChatMessage(BaseModel):
    """The reader's message."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """The one answer."""

    index: int = 0
    message: ChatMessage
    logprobs: None = None
    finish_reason: Literal["stop", "length"]


class ChatAnswer(BaseModel):
    """A chat completion."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: UsageAnswer


def answer(result: Result, created: int, *, as_json: bool) -> ChatAnswer:
    """The whole answer at once."""
    words = content_of(result, as_json=as_json)
    return spoken(words, result.id, created, result.model, usage=result.usage, finish=_finish(result))


def spoken(
    words: str, id: str, created: int, model: str, *, usage: Usage = _NOTHING, finish: Literal["stop", "length"] = "stop"
) -> ChatAnswer:
    """A completion of these words."""
    choice = Choice(message=ChatMessage(content=words), finish_reason=finish)
    return ChatAnswer(id=f"chatcmpl-{id}", created=created, model=model, choices=[choice], usage=UsageAnswer.of(usage))


@dataclass
class Chunks:
    """The pieces of one streamed answer. With `live` they are told while they are written, else at the end."""

    id: str
    created: int
    model: str
    live: bool
    as_json: bool
    with_usage: bool
    told: str = ""
    begun: bool = False

    def piece(self, text: str) -> Iterator[dict[str, Any]]:
        """A delta of the reader; nothing, where its raw text is not the answer's."""
        if self.live and text:
            self.told += text
            yield self._chunk({"content": text})

    def end(self, result: Result) -> Iterator[dict[str, Any]]:
        """What has not been told yet, how it ended, what it took."""
        return self.ended(content_of(result, as_json=self.as_json), result.usage, _finish(result))

    def ended(self, content: str, usage: Usage = _NOTHING, finish: str = "stop") -> Iterator[dict[str, Any]]:
        """The same for a whole answer in words."""
        if content.startswith(self.told) and len(content) > len(self.told):
            yield self._chunk({"content": content[len(self.told) :]})
        yield self._chunk({}, finish)
        if self.with_usage:
            yield self._frame([]) | {"usage": UsageAnswer.of(usage).model_dump()}

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
