"""multipart/form-data (RFC 7578) read straight into memory: a patient's picture never touches the disk, not even for a moment."""

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
_HINT = "Send multipart/form-data as RFC 7578 describes it; HTTP libraries do it by themselves."


@dataclass
class Part:
    """One field of a form. A part with a file name is a file, whatever its name is."""

    name: str = ""
    is_file: bool = False
    filename: str = ""
    data: bytearray = field(default_factory=bytearray)

    def text(self) -> str:
        """The value of a field that is no file. Raises BadRequest when it is not UTF-8."""
        try:
            return self.data.decode()
        except UnicodeDecodeError as e:
            raise BadRequest(f"The form's field '{self.name[:40]}' is not UTF-8.", hint=_HINT) from e


async def read_parts(content_type: str, chunks: AsyncIterable[bytes], most: int = _MAX_PARTS) -> list[Part]:
    """The parts of a form, `most` at most, whose size the caller limits. Raises BadRequest when it is damaged or ends early."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise BadRequest("The multipart request names no boundary.", hint=_HINT)
    collected = _Parts(most)
    try:
        parser = MultipartParser(boundary, collected.callbacks())
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as e:
        raise BadRequest("The multipart body is damaged.", hint=_HINT) from e
    if collected.open is not None and collected.open.name:
        raise BadRequest("The multipart body ends in the middle of a part.", hint=_HINT)
    return collected.done


class _Parts:
    """What the parser calls as it goes along."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.done: list[Part] = []
        self.open: Part | None = None
        self._header = [bytearray(), bytearray()]  # name, value

    def callbacks(self) -> MultipartCallbacks:
        """Each event and what is done at it."""
        return {
            "on_part_begin": self._begin, "on_part_data": self._data, "on_part_end": self._end,
            "on_header_field": lambda data, a, b: self._header[0].extend(data[a:b]),
            "on_header_value": lambda data, a, b: self._header[1].extend(data[a:b]),
            "on_header_end": self._header_end, "on_headers_finished": self._named,
        }  # fmt: skip

    def _begin(self) -> None:
        if len(self.done) >= self._most:
            raise BadRequest(f"The form has more than {self._most} parts.", hint=_HINT)
        self.open = Part()

    def _header_end(self) -> None:
        name, value = (bytes(part) for part in self._header)
        self._header = [bytearray(), bytearray()]
        if name.lower() == b"content-disposition" and self.open is not None:
            _, options = parse_options_header(value)
            self.open.name = options.get(b"name", b"").decode("utf-8", "replace")
            self.open.is_file = b"filename" in options
            self.open.filename = options.get(b"filename", b"").decode("utf-8", "replace")

    def _named(self) -> None:
        if self.open is not None and not self.open.name:
            raise BadRequest("A part of the form has no name.", hint=_HINT)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self.open is not None:
            self.open.data += data[start:end]

    def _end(self) -> None:
        if self.open is not None:
            self.done.append(self.open)
        self.open = None
