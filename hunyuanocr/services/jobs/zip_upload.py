"""Files of a batch upload, with ZIP archives unpacked. Sizes are limited, whatever an archive declares; names are never paths."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from hunyuanocr.errors import BadRequest, BatchTooLarge, HunyuanOcrError, ImageTooLarge, UnsupportedMedia
from hunyuanocr.images import sniff
from hunyuanocr.services.jobs.zip_names import entry_names

_ENCRYPTED = 0x1
_MAX_NAME_LENGTH = 500  # characters


@dataclass(frozen=True)
class UploadedFile:
    """One file of a batch. `data` is None when it cannot be read, and `failure` gives the reason."""

    name: str
    data: bytes | None
    failure: HunyuanOcrError | None = None


@dataclass(frozen=True)
class UploadLimits:
    """Limits of a batch: number of files, bytes of each file, bytes of all files unpacked."""

    files: int
    each: int
    all: int


def is_zip(data: bytes) -> bool:
    """Return whether the data starts like a ZIP archive."""
    return data[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def expand_uploads(uploads: list[tuple[str, bytes]], limits: UploadLimits) -> list[UploadedFile]:
    """Return the files of a batch, with ZIP archives unpacked. Blocking.

    A file that is too large, or not an image or PDF, is marked as failed. Raises BatchTooLarge, and BadRequest for an archive
    that is damaged or encrypted.
    """
    files: list[UploadedFile] = []
    size = 0
    for name, data in uploads:
        for file in _unpack(data, limits, limits.all - size) if is_zip(data) else (_file(_label(name), data, limits.each),):
            files.append(file)
            size += len(file.data or b"")
            if len(files) > limits.files:
                raise BatchTooLarge(f"The batch has more than {limits.files} files.")
    return files


def _file(name: str, data: bytes, max_bytes: int) -> UploadedFile:
    if len(data) > max_bytes:
        return UploadedFile(name, None, ImageTooLarge(f"The file has more than {max_bytes} bytes."))
    if not data or sniff(data) is None:
        return UploadedFile(name, None, UnsupportedMedia("The file is not an image or PDF of a supported format."))
    return UploadedFile(name, data)


def _unpack(data: bytes, limits: UploadLimits, max_total: int) -> Iterator[UploadedFile]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if not _is_junk(entry)]
            if len(entries) > limits.files:
                raise BatchTooLarge(f"The ZIP archive has more than {limits.files} files.")
            for entry, name in zip(entries, entry_names(entries), strict=True):
                if entry.flag_bits & _ENCRYPTED:
                    raise BadRequest("The ZIP archive is encrypted.", hint="Send an archive without a password.")
                with archive.open(entry) as packed:  # the declared size is not trusted
                    content = packed.read(min(limits.each, max_total) + 1)
                if len(content) > max_total:
                    raise BatchTooLarge(f"The batch has more than {limits.all} bytes unpacked.")
                max_total -= len(content)
                yield _file(_label(name), content, limits.each)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError, RuntimeError) as e:
        raise BadRequest(f"The ZIP archive is damaged ({type(e).__name__}).", hint="Create it again.") from e


def _is_junk(entry: zipfile.ZipInfo) -> bool:
    """Return whether the entry is a folder or a file that operating systems add to archives."""
    last = entry.filename.rsplit("/", 1)[-1]
    return entry.is_dir() or entry.filename.startswith("__MACOSX/") or last.startswith(".") or last.lower() == "thumbs.db"


def _label(name: str) -> str:
    return name.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()[:_MAX_NAME_LENGTH]
