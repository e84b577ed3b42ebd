"""Request and response of `/v1/chat/completions`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.schemas.ocr import Schema, Text
from hunyuanocr.errors import InvalidValue
from hunyuanocr.result_schema import Usage

_MAX_MESSAGES = 200
_MAX_PARTS = 100
_IMAGE_TYPES = ("image_url", "image", "input_image")  # OpenAI's chat format, the model's own, OpenAI's responses format


class _Lenient(BaseModel):
    """Part of a request. Unknown keys are ignored: clients send many that have no effect here."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class ImageUrl(_Lenient):
    """Image in OpenAI's format."""

    url: str = Field(description="Data URI: `data:image/jpeg;base64,…`. URLs are rejected: the server downloads nothing.")


class FilePart(_Lenient):
    """File in OpenAI's format, for example a PDF."""

    file_data: str = Field(description="Data URI.")


def _or_data_uri(part: type[BaseModel], key: str) -> BeforeValidator:
    """Return a validator that also accepts the data URI itself, as some clients send it, instead of a `part` with `key`."""
    input_type: Any = part | str | None
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value, json_schema_input_type=input_type)


class ContentPart(_Lenient):
    """Part of a message: text, an image or a document."""

    type: Annotated[Text, Field(max_length=40, examples=["text", "image_url", "file"])]
    text: Text | None = None
    image_url: Annotated[ImageUrl | None, _or_data_uri(ImageUrl, "url")] = Field(
        None, description="An object with `url`, or the data URI itself."
    )
    image: Text | None = Field(None, description="Data URI of a part of type `image`, as the model's own examples send it.")
    file: Annotated[FilePart | None, _or_data_uri(FilePart, "file_data")] = Field(
        None, description="An object with `file_data`, or the data URI itself."
    )


class Message(_Lenient):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | Annotated[list[ContentPart], Field(max_length=_MAX_PARTS)] | None = None

    def text(self) -> str:
        """Return the text parts, one per line."""
        if not isinstance(self.content, list):
            return (self.content or "").strip()
        return "\n".join(part.text.strip() for part in self.content if part.text).strip()

    def images(self) -> list[str]:
        """Return the data URIs of images and documents. Raises InvalidValue for a part of another type."""
        return [url for part in self.content if (url := _image_url(part))] if isinstance(self.content, list) else []


class JsonSchemaFormat(_Lenient):
    """JSON Schema of the response."""

    json_schema: Schema | None = Field(None, validation_alias="schema", serialization_alias="schema")


class ResponseFormat(_Lenient):
    """Format of the response."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchemaFormat | None = None


class StreamOptions(_Lenient):
    """Options of a streamed response."""

    include_usage: bool | None = False


class ChatRequest(_Lenient):
    """Chat completion request in OpenAI's format."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=_MAX_MESSAGES)]
    model: str | None = Field(None, max_length=200, description="Ignored: the active model of `/v1/models` answers.")
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = Field(
        None,
        description="`json_object`: JSON content. `json_schema`: extract the properties of the schema; the content matches it.",
    )
    max_tokens: int | None = Field(None, ge=1, description="Maximum number of tokens that a language model generates.")
    max_completion_tokens: int | None = Field(None, ge=1, description="Newer name of `max_tokens`.")
    temperature: float | None = Field(None, description="Accepted without effect, like `top_p` and `seed`: decoding is greedy.")
    n: int | None = Field(1, description="Must be 1: decoding is greedy, so more choices would be identical.")
    tools: list[Any] | None = Field(None, description="Not supported: requests with tools are rejected.")

    @property
    def wants_json(self) -> bool:
        """Return whether the content must be JSON."""
        return self.response_format is not None and self.response_format.type != "text"

    @property
    def wants_usage(self) -> bool:
        """Return whether the stream ends with the token counts."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


def _image_url(part: ContentPart) -> str | None:
    if part.type in _IMAGE_TYPES and part.image_url is not None:
        return part.image_url.url
    if part.type in _IMAGE_TYPES and part.image is not None:
        return part.image
    if part.type == "file" and part.file is not None:
        return part.file.file_data
    if part.type in ("text", "input_text"):
        return None
    raise InvalidValue(f"Part type '{part.type}' is not supported.", hint="Send parts of type text, image_url or file.")


class ChatMessage(BaseModel):
    """Message of the assistant."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """The only choice."""

    index: int = 0
    message: ChatMessage
    logprobs: None = None
    finish_reason: Literal["stop", "length"]


class ChatCompletion(BaseModel):
    """Chat completion in OpenAI's format."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class OpenAIError(BaseModel):
    """Error in OpenAI's format."""

    message: str = Field(description="What went wrong, how to fix it, and the request id.")
    type: str = Field(description="OpenAI's error type, for example `invalid_request_error`.")
    param: str | None = Field(None, description="The invalid parameter, if there is one.")
    code: str = Field(description="Stable error code, for programs.")


class OpenAIErrorResponse(BaseModel):
    """Body of every error response of this route."""

    error: OpenAIError
