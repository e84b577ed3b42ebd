"""Parse multipart/form-data (RFC 7578) in memory: uploaded images, which may be medical, are never written to disk."""

from __future__ import annotations

import binascii
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import decode_header
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.charset import decode_text
from hunyuanocr.errors import BadRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MAX_PARTS = 64
_HINT = "Send multipart/form-data as in RFC 7578, for example with an HTTP library."
_CHARSET_FIELD = "_charset_"  # RFC 7578, section 4.6: the character set of the parts that declare none
_EXTENDED_NAME = re.compile(r"""filename\*\s*=\s*"?([\w.:+-]{1,40})'[\w-]{0,40}'([^;"\s]{0,2000})""", re.IGNORECASE | re.ASCII)
_TEXT_TYPES = re.compile(r"text/.*|application/(?:json|xml|x-www-form-urlencoded)|.*\+(?:json|xml)")
_TRANSFER_DECODERS: dict[str, Callable[[bytes], bytes]] = {"base64": binascii.a2b_base64, "quoted-printable": binascii.a2b_qp}


@dataclass
class Part:
    """One field of a form. `filename` is None if the part has none; `content_type` and `charset` are as declared, or empty."""

    name: str = ""
    filename: str | None = None
    content_type: str = ""
    charset: str = ""
    transfer_encoding: str = ""
    data: bytearray = field(default_factory=bytearray)

    @property
    def declares_file(self) -> bool:
        """Return whether the headers say that the part is a file: by a file name, or by a type that is not text."""
        return self.filename is not None or bool(self.content_type and not _TEXT_TYPES.fullmatch(self.content_type))

    def text(self) -> str:
        """Return the value of a text field. Raises BadRequest if it does not fit its character set, which is UTF-8 by default."""
        return decode_text(self.data, self.charset, f"form field '{self.name[:40]}'")

    def decode_transfer(self) -> None:
        """Undo `Content-Transfer-Encoding`, which some mail libraries use in forms. Blocking. Raises BadRequest."""
        if self.transfer_encoding in ("", "7bit", "8bit", "binary"):
            return
        try:
            self.data = bytearray(_TRANSFER_DECODERS[self.transfer_encoding](bytes(self.data)))
        except (KeyError, ValueError) as e:  # binascii.Error is a ValueError
            encoding = self.transfer_encoding[:40]
            raise BadRequest(
                f"The Content-Transfer-Encoding '{encoding}' of form field '{self.name[:40]}' cannot be decoded.",
                hint="Send the bytes of the file without a transfer encoding.",
            ) from e
        self.transfer_encoding = ""


async def read_parts(content_type: str, chunks: AsyncIterable[bytes], max_parts: int = _MAX_PARTS) -> list[Part]:
    """Return the parts of a form. Raises BadRequest if it is damaged, ends early, or has more than `max_parts` parts.

    The caller limits the size of the body.
    """
    options = parse_options_header(content_type)[1]
    boundary = options.get(b"boundary")
    if not boundary:
        raise BadRequest("The multipart content type has no boundary.", hint=_HINT)
    collector = _PartCollector(max_parts)
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        async for chunk in _without_preamble(chunks, boundary):
            parser.write(chunk)
        parser.finalize()
    except FormParserError as e:
        raise BadRequest("The multipart body is malformed.", hint=_HINT) from e
    if collector.open is not None and collector.disposition:
        raise BadRequest("The multipart body is incomplete.", hint=_HINT)
    return _with_default_charset(collector.done, _ascii(options.get(b"charset", b"")))


async def _without_preamble(chunks: AsyncIterable[bytes], boundary: bytes) -> AsyncIterator[bytes]:
    """Yield the body from its first boundary on: RFC 2046 allows text before it, which the parser rejects. Raises BadRequest."""
    delimiter = b"\n--" + boundary
    searched: bytes | None = b"\n"  # at the start of the body, a boundary needs no line break before it
    async for chunk in chunks:
        if searched is None:
            yield chunk
            continue
        searched += chunk
        at = searched.find(delimiter)
        if at < 0:
            searched = searched[-len(delimiter) :]
            continue
        yield searched[at + 1 :]
        searched = None
    if searched not in (None, b"\n"):
        raise BadRequest("The multipart body has no boundary, or not the one of its content type.", hint=_HINT)


def _with_default_charset(parts: list[Part], charset: str) -> list[Part]:
    """Declare the default character set of the form for parts without one: that of the field `_charset_`, or `charset`."""
    named = next((part for part in parts if part.name == _CHARSET_FIELD and part.filename is None), None)
    if named is not None:
        parts = [part for part in parts if part is not named]
        charset = _ascii(bytes(named.data[:40])).strip() or charset
    for part in parts:
        part.charset = part.charset or charset
    return parts


class _PartCollector:
    """Collects parts through the callbacks of the parser."""

    def __init__(self, max_parts: int) -> None:
        self._max_parts = max_parts
        self.done: list[Part] = []
        self.open: Part | None = None
        self.disposition = b""  # of the open part
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
        self.open, self.disposition = Part(), b""

    def _finish_header(self) -> None:
        name, value = (bytes(part) for part in self._header)
        self._header = [bytearray(), bytearray()]
        if self.open is None:
            return
        match name.lower():
            case b"content-disposition":
                self.disposition = value
                options = parse_options_header(value)[1]
                self.open.name = options.get(b"name", b"").decode("utf-8", "replace")
                self.open.filename = _filename(value.decode("latin-1"), options.get(b"filename"))
            case b"content-type":
                kind, options = parse_options_header(value)
                self.open.content_type, self.open.charset = _ascii(kind), _ascii(options.get(b"charset", b""))
            case b"content-transfer-encoding":
                self.open.transfer_encoding = _ascii(value).strip().lower()

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


def _filename(disposition: str, plain: bytes | None) -> str | None:
    """Return the file name: `filename*` (RFC 8187), or `filename`, which .NET encodes as in RFC 2047; None without one."""
    extended = _EXTENDED_NAME.search(disposition)
    if extended is not None:
        return _decoded(unquote_to_bytes(extended[2]), extended[1])
    if plain is None:
        return "" if re.search(r"filename\*\s*=", disposition, re.IGNORECASE) else None
    text = plain.decode("utf-8", "replace")
    if not text.startswith("=?"):
        return text
    try:
        words = decode_header(text)
    except (HeaderParseError, ValueError):
        return text
    return "".join(word if isinstance(word, str) else _decoded(word, charset or "utf-8") for word, charset in words) or text


def _decoded(data: bytes, charset: str) -> str:
    try:
        return decode_text(data, charset, "file name")
    except BadRequest:
        return data.decode("utf-8", "replace")


def _ascii(data: bytes) -> str:
    return data.decode("ascii", "replace")
