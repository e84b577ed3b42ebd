"""A ZIP of pictures → names and bytes, within bounds whatever the archive claims. Names are labels, never paths."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from hunyuanocr.errors import BadRequest, BatchTooLarge, HunyuanOcrError, ImageTooLarge, UnsupportedMedia
from hunyuanocr.images import sniff

_UTF8 = 0x800  # flag of an entry whose name is UTF-8
_ENCRYPTED = 0x1
_MAX_NAME_LENGTH = 500


@dataclass(frozen=True)
class UploadedFile:
    """One file of a batch; `failure` says why it cannot be read, and then there are no bytes."""

    name: str
    data: bytes | None
    failure: HunyuanOcrError | None = None


@dataclass(frozen=True)
class UploadLimits:
    """Files of a batch, bytes of one, bytes of all of them unpacked."""

    files: int
    each: int
    all: int


def is_zip(data: bytes) -> bool:
    """Whether the bytes begin as a ZIP does."""
    return data[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def expand_uploads(uploads: list[tuple[str, bytes]], limits: UploadLimits) -> list[UploadedFile]:
    """The files of a batch, those of its ZIPs unpacked. Blocking.

    One that is no picture, or is too large, fails by itself. Raises BatchTooLarge, and BadRequest
    for an archive that is damaged or locked.
    """
    found: list[UploadedFile] = []
    size = 0
    for name, data in uploads:
        for file in _unpacked(data, limits, limits.all - size) if is_zip(data) else (_file(_label(name), data, limits.each),):
            found.append(file)
            size += len(file.data or b"")
            if len(found) > limits.files:
                raise BatchTooLarge(f"The batch has more than {limits.files} files.")
    return found


def _file(name: str, data: bytes, most: int) -> UploadedFile:
    if len(data) > most:
        return UploadedFile(name, None, ImageTooLarge(f"The file has more than {most} bytes."))
    if not data or sniff(data) is None:
        return UploadedFile(name, None, UnsupportedMedia("The file is no picture and no PDF that can be read here."))
    return UploadedFile(name, data)


def _unpacked(data: bytes, limits: UploadLimits, room: int) -> Iterator[UploadedFile]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if not _is_litter(entry)]
            if len(entries) > limits.files:
                raise BatchTooLarge(f"The ZIP has more than {limits.files} files.")
            for entry in entries:
                if entry.flag_bits & _ENCRYPTED:
                    raise BadRequest("The ZIP asks for a password.", hint="Send it without one.")
                with archive.open(entry) as packed:  # what the entry says of its size is not believed
                    content = packed.read(min(limits.each, room) + 1)
                if len(content) > room:
                    raise BatchTooLarge(f"The batch has more than {limits.all} bytes unpacked.")
                room -= len(content)
                yield _file(_label(_name(entry)), content, limits.each)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError, RuntimeError) as e:
        raise BadRequest(f"The ZIP cannot be unpacked ({type(e).__name__}).", hint="Pack it again, as a plain ZIP.") from e


def _is_litter(entry: zipfile.ZipInfo) -> bool:
    """Folders, and what systems leave in archives."""
    last = entry.filename.rsplit("/", 1)[-1]
    return entry.is_dir() or entry.filename.startswith("__MACOSX/") or last.startswith(".") or last.lower() == "thumbs.db"


def _name(entry: zipfile.ZipInfo) -> str:
    """The name as it was meant: without the flag for UTF-8 the format says code page 437, and Chinese systems write GBK."""
    if entry.flag_bits & _UTF8:
        return entry.filename
    raw = entry.filename.encode("cp437", "replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return entry.filename


def _label(name: str) -> str:
    return name.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()[:_MAX_NAME_LENGTH]
