"""Parse multipart/form-data (RFC 7578) in memory: uploaded images, which may be medical, are never written to disk."""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from hunyuanocr.errors import BadRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MAX_PARTS = 64
_HINT = "Send multipart/form-data as in RFC 7578, for example with an HTTP library."


@dataclass
class Part:
    """One field of a form. A part with a file name is a file."""

    name: str = ""
    is_file: bool = False
    filename: str = ""
    data: bytearray = field(default_factory=bytearray)

    def text(self) -> str:
        """Return the value of a text field. Raises BadRequest if it is not UTF-8."""
        try:
            return self.data.decode()
        except UnicodeDecodeError as e:
            raise BadRequest(f"Form field '{self.name[:40]}' is not valid UTF-8.", hint=_HINT) from e


async def read_parts(content_type: str, chunks: AsyncIterable[bytes], max_parts: int = _MAX_PARTS) -> list[Part]:
    """Return the parts of a form. Raises BadRequest if it is damaged, ends early, or has more than `max_parts` parts.

    The caller limits the size of the body.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise BadRequest("The multipart content type has no boundary.", hint=_HINT)
    collector = _PartCollector(max_parts)
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as e:
        raise BadRequest("The multipart body is malformed.", hint=_HINT) from e
    if collector.open is not None and collector.open.name:
        raise BadRequest("The multipart body is incomplete.", hint=_HINT)
    return collector.done


class _PartCollector:
    """Collects parts through the callbacks of the parser."""

    def __init__(self, max_parts: int) -> None:
        self._max_parts = max_parts
        self.done: list[Part] = []
        self.open: Part | None = None
        self._header = [bytearray(), bytearray()]  # name, value

    def callbacks(self) -> MultipartCallbacks:
        """Return the callback for each event."""
        return {
            "on_part_begin": self._start_part, "on_part_data": self._append_data, "on_part_end": self._finish_part,
            "on_header_field": lambda data, a, b: self._header[0].extend(data[a:b]),
            "on_header_value": lambda data, a, b: self._header[1].extend(data[a:b]),
            "on_header_end": self._finish_header, "on_headers_finished": self._require_name,
        }  # fmt: skip

    def _start_part(self) -> None:
        if len(self.done) >= self._max_parts:
            raise BadRequest(f"The form has more than {self._max_parts} parts.", hint=_HINT)
        self.open = Part()

    def _finish_header(self) -> None:
        name, value = (bytes(part) for part in self._header)
        self._header = [bytearray(), bytearray()]
        if name.lower() == b"content-disposition" and self.open is not None:
            _, options = parse_options_header(value)
            self.open.name = options.get(b"name", b"").decode("utf-8", "replace")
            self.open.is_file = b"filename" in options
            self.open.filename = options.get(b"filename", b"").decode("utf-8", "replace")

    def _require_name(self) -> None:
        if self.open is not None and not self.open.name:
            raise BadRequest("A form part has no name.", hint=_HINT)

    def _append_data(self, data: bytes, start: int, end: int) -> None:
        if self.open is not None:
            self.open.data += data[start:end]

    def _finish_part(self) -> None:
        if self.open is not None:
            self.done.append(self.open)
        self.open = None
