"""What /v1/chat/completions takes and answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.ocr import Schema, Text, Usage
from hunyuanocr.errors import InvalidValue

_MAX_MESSAGES = 200
_MAX_PARTS = 100


class _Lenient(BaseModel):
    """What clients send; keys that are not known are left alone, for they send many."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class ImageUrl(_Lenient):
    """A picture as OpenAI's clients send it."""

    url: str = Field(description="A data URI: `data:image/jpeg;base64,…`. Addresses are refused: nothing is fetched.")


class FilePart(_Lenient):
    """A PDF, for instance."""

    file_data: str = Field(description="A data URI.")


class ContentPart(_Lenient):
    """A piece of a message: words, a picture, a document."""

    type: Annotated[Text, Field(max_length=40, examples=["text", "image_url", "file"])]
    text: Text | None = None
    image_url: ImageUrl | None = None
    file: FilePart | None = None


class Message(_Lenient):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | Annotated[list[ContentPart], Field(max_length=_MAX_PARTS)] | None = None

    def text(self) -> str:
        """Its text parts, one a line."""
        if not isinstance(self.content, list):
            return (self.content or "").strip()
        return "\n".join(part.text.strip() for part in self.content if part.text).strip()

    def images(self) -> list[str]:
        """Its pictures and documents, as they were sent. Raises InvalidValue for what is neither."""
        return [found for part in self.content if (found := _picture(part))] if isinstance(self.content, list) else []


class JsonSchemaFormat(_Lenient):
    """A JSON Schema, by name."""

    json_schema: Schema | None = Field(None, validation_alias="schema", serialization_alias="schema")


class ResponseFormat(_Lenient):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchemaFormat | None = None


class StreamOptions(_Lenient):
    """What a stream tells besides the text."""

    include_usage: bool | None = False


class ChatRequest(_Lenient):
    """A request in OpenAI's form."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=_MAX_MESSAGES)]
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
    def wants_json(self) -> bool:
        """Whether the answer must be JSON."""
        return self.response_format is not None and self.response_format.type != "text"

    @property
    def wants_usage(self) -> bool:
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


class ChatCompletion(BaseModel):
    """A chat completion."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
