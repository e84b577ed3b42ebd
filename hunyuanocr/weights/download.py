"""Download the files of a hub: resume interrupted downloads, compare checksums, and move complete files into the folder."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import httpx

from hunyuanocr.weights.hub import FetchFailed, RemoteFile, http_error

STAGING = ".fetch"  # in the same folder, so that files can be renamed
MAX_ATTEMPTS = 6  # without progress
RESERVED_BYTES = 100_000_000  # of disk space
_BLOCK_BYTES = 1 << 20
_WRITE_HINT = "Check free disk space and write permission."
OnProgress = Callable[[int], None]  # receives the number of new bytes; negative if a file starts again


class RetryableError(Exception):
    """An error after which the download is tried again."""


def files_to_fetch(files: Iterable[RemoteFile], folder: Path, *, force: bool = False) -> list[RemoteFile]:
    """Return the files that are missing in the folder or differ from the hub's; with `force`, all."""
    return [file for file in files if force or not _is_complete(folder / file.name, file)]


def download(
    client: httpx.Client,
    files: Sequence[RemoteFile],
    folder: Path,
    on_progress: OnProgress = lambda _: None,
    *,
    backoff_s: float = 1.0,
) -> None:
    """Download `files` to `folder`, which does not change before all files are complete and verified.

    `backoff_s` is the first delay in seconds after a lost connection; it doubles. Raises FetchFailed; the next call continues
    from the data that was received.
    """
    staging = folder / STAGING
    try:
        for file in files:
            (staging / file.name).parent.mkdir(parents=True, exist_ok=True)
        _check_space(files, staging)
        for file in files:
            _fetch(client, file, staging / file.name, on_progress, backoff_s)
        # The config comes last: without it the folder counts as missing, if the power fails between two renames.
        for file in sorted(files, key=lambda f: f.name == "config.json"):
            (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            (staging / file.name).replace(folder / file.name)
        shutil.rmtree(staging)
    except OSError as e:
        raise FetchFailed(f"{e.filename or folder} cannot be written: {e.strerror or e}.", hint=_WRITE_HINT) from e


def unexpected_files(files: Iterable[RemoteFile], folder: Path) -> list[str]:
    """Return weight files of the folder that the hub does not list: those of another release could be loaded by mistake."""
    listed = {file.name for file in files}
    present = [*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json")]
    return sorted(path.name for path in present if path.name not in listed)


def _check_space(files: Iterable[RemoteFile], staging: Path) -> None:
    needed = sum(max(0, (file.size or 0) - _size(staging / file.name) - _size(_part(staging / file.name))) for file in files)
    free = shutil.disk_usage(staging).free
    if needed + RESERVED_BYTES > free:
        raise FetchFailed(
            f"Not enough disk space in {staging.parent}: {needed / 1e9:.2f} GB required, {free / 1e9:.2f} GB free.",
            hint="Free disk space, or use a folder on another disk with --model-path.",
        )


def _fetch(client: httpx.Client, file: RemoteFile, target: Path, on_progress: OnProgress, backoff_s: float) -> None:
    """Download one file to `target` and verify it."""
    if _is_complete(target, file):  # from an earlier call
        on_progress(_size(target))
        return
    part = _part(target)
    on_progress(_size(part))
    best, failures = _size(part), 0
    while True:
        try:
            _attempt(client, file, part, on_progress)
            break
        except (httpx.TransportError, RetryableError) as e:
            failures, best = (0, _size(part)) if _size(part) > best else (failures + 1, best)
            if failures >= MAX_ATTEMPTS:
                raise FetchFailed(f"{file.name} cannot be downloaded: {e or type(e).__name__} ({MAX_ATTEMPTS} attempts).") from e
            time.sleep(min(60.0, backoff_s * 2**failures))
    if difference := _difference(part, file):
        _remove(part)
        raise FetchFailed(
            f"{file.name} was received {difference} and deleted.",
            hint="Run the command again. If it fails again, the hub or a proxy alters files: use another --source.",
        )
    part.replace(target)
    _remove(part)


def _attempt(client: httpx.Client, file: RemoteFile, part: Path, on_progress: OnProgress) -> None:
    """Download the missing bytes. Raises RetryableError or httpx.TransportError if another attempt may succeed."""
    have, tag = _size(part), _tag(part).read_text() if _tag(part).is_file() else ""
    if file.size is not None and have == file.size:
        return
    if have and ((file.size is not None and have > file.size) or not (tag or file.sha256 or file.git)):
        have = 0  # without a checksum or tag the parts may belong to different versions
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and tag:
        headers["If-Range"] = tag
    for url in file.urls:
        with client.stream("GET", url, headers=headers) as response:
            if response.status_code == 404 and url != file.urls[-1]:
                continue
            if response.status_code == 416:
                on_progress(-_size(part))
                _remove(part)
                raise RetryableError("the hub refused the byte range")
            if response.status_code == 429 or response.status_code >= 500:
                raise RetryableError(f"the hub returned HTTP {response.status_code}")
            if not response.is_success:
                raise http_error(response, url)
            _receive(response, file, part, have, on_progress)
            return


def _receive(response: httpx.Response, file: RemoteFile, part: Path, have: int, on_progress: OnProgress) -> None:
    """Write the body: after the existing bytes, or from the start if the hub sends the whole file."""
    start = _start(response, have, file.size)
    length = response.headers.get("content-length") if "content-encoding" not in response.headers else None
    size = start + int(length) if length is not None else file.size
    if file.size is not None and size != file.size:
        raise FetchFailed(f"The hub lists {file.name} with {file.size:,} bytes, but sends {size:,}.")
    on_progress(start - _size(part))
    tag = response.headers.get("etag", "")
    _tag(part).write_text("" if tag.startswith("W/") else tag)  # a weak tag does not guarantee the same bytes
    with part.open("r+b" if start else "wb") as f:
        f.seek(start)
        f.truncate()
        for chunk in response.iter_bytes():  # without buffering, which would lose data with the connection
            if size is not None and f.tell() + len(chunk) > size:
                raise FetchFailed(f"The hub sends more than the {size:,} bytes of {file.name} that it announced.")
            f.write(chunk)
            on_progress(len(chunk))
    if size is not None and _size(part) < size:
        raise RetryableError("the connection was closed early")


def _start(response: httpx.Response, have: int, size: int | None) -> int:
    """Return the offset of the body. An older ModelScope route sends the remaining bytes with status 200."""
    found = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
    if found:
        if int(found[1]) != have:
            raise RetryableError("the hub sent another byte range than requested")
        return have
    if response.status_code == 206:
        raise RetryableError("the hub did not state the byte range")
    rest = size is not None and have > 0 and response.headers.get("content-length") == str(size - have)
    return have if rest else 0


def _is_complete(path: Path, file: RemoteFile) -> bool:
    return path.is_file() and _difference(path, file) == ""


def _difference(path: Path, file: RemoteFile) -> str:
    """Return how a file differs from the hub's; "" if it does not."""
    size = _size(path)
    if file.size is not None and size != file.size:
        return f"with {size:,} instead of {file.size:,} bytes"
    if file.sha256 is None and file.git is None:
        return ""
    with path.open("rb") as f:
        if file.sha256 is not None:
            return "" if hashlib.file_digest(f, "sha256").hexdigest() == file.sha256 else "with a wrong SHA-256 checksum"
        blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)  # the format of a git object
        while block := f.read(_BLOCK_BYTES):
            blob.update(block)
    return "" if blob.hexdigest() == file.git else "with a wrong git checksum"


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _tag(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _remove(part: Path) -> None:
    for path in (part, _tag(part)):
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
