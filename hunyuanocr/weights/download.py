"""Files of a hub → a folder: resumed where it stopped, compared with the hub's checksums, moved in at the end."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import httpx

from hunyuanocr.weights.hub import FetchFailed, RemoteFile, http_error

STAGING = ".fetch"  # within the folder, so that moving out of it is a rename
ATTEMPTS = 6  # without one new byte
SPARE = 100_000_000  # bytes that stay free on the disk
_BLOCK = 1 << 20
Advance = Callable[[int], None]  # bytes more, or less when a file begins anew


class RetryableError(Exception):
    """This attempt failed, the next may not."""


def files_to_fetch(files: Iterable[RemoteFile], folder: Path, *, force: bool = False) -> list[RemoteFile]:
    """The files that are not yet in the folder as the hub has them; with `force`, all."""
    return [file for file in files if force or not _whole(folder / file.name, file)]


def download(
    client: httpx.Client, files: Sequence[RemoteFile], folder: Path, advance: Advance = lambda _: None, *, pause: float = 1.0
) -> None:
    """Bring `files` into `folder`; nothing in it changes before all of them are here and right.

    `pause` is the first wait in seconds after a broken connection; it doubles. Raises FetchFailed; what has come stays and the
    next call goes on from there.
    """
    staging = folder / STAGING
    try:
        for file in files:
            (staging / file.name).parent.mkdir(parents=True, exist_ok=True)
        _check_space(files, staging)
        for file in files:
            _fetch(client, file, staging / file.name, advance, pause)
        # The config last: a folder without it counts as missing, should the power fail between two renames.
        for file in sorted(files, key=lambda f: f.name == "config.json"):
            (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            (staging / file.name).replace(folder / file.name)
        shutil.rmtree(staging)
    except OSError as e:
        raise FetchFailed(f"{e.filename or folder} cannot be written: {e.strerror or e}.", hint="Free space or rights.") from e


def unexpected_files(files: Iterable[RemoteFile], folder: Path) -> list[str]:
    """Weight files in the folder that are not on the hub's list: of another release, and one might be loaded for the other."""
    listed = {file.name for file in files}
    here = [*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json")]
    return sorted(path.name for path in here if path.name not in listed)


def _check_space(files: Iterable[RemoteFile], staging: Path) -> None:
    needed = sum(max(0, (file.size or 0) - _size(staging / file.name) - _size(_part(staging / file.name))) for file in files)
    free = shutil.disk_usage(staging).free
    if needed + SPARE > free:
        raise FetchFailed(
            f"The disk is too full: {needed / 1e9:.2f} GB are to come, {free / 1e9:.2f} GB are free in {staging.parent}.",
            hint="Free some space, or name a folder on another disk with --model-path.",
        )


def _fetch(client: httpx.Client, file: RemoteFile, target: Path, advance: Advance, pause: float) -> None:
    """One file, whole and checked, to `target`."""
    if _whole(target, file):  # of an earlier call
        advance(_size(target))
        return
    part = _part(target)
    advance(_size(part))
    best, failures = _size(part), 0
    while True:
        try:
            _attempt(client, file, part, advance)
            break
        except (httpx.TransportError, RetryableError) as e:
            failures, best = (0, _size(part)) if _size(part) > best else (failures + 1, best)
            if failures >= ATTEMPTS:
                raise FetchFailed(f"{file.name} does not come: {e or type(e).__name__} ({ATTEMPTS} attempts).") from e
            time.sleep(min(60.0, pause * 2**failures))
    wrong = _difference(part, file)
    if wrong:
        _forget(part)
        raise FetchFailed(
            f"{file.name} arrived {wrong}. It was thrown away.",
            hint="Run it again; if it happens again, the hub or something on the way to it changes files: use another --source.",
        )
    part.replace(target)
    _forget(part)


def _attempt(client: httpx.Client, file: RemoteFile, part: Path, advance: Advance) -> None:
    """Take what is still to come. Raises Again or httpx.TransportError for what another attempt may mend."""
    have, tag = _size(part), _tag(part).read_text() if _tag(part).is_file() else ""
    if file.size is not None and have == file.size:
        return
    if have and ((file.size is not None and have > file.size) or not (tag or file.sha256 or file.git)):
        have = 0  # nothing would tell whether the rest belongs to it
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and tag:
        headers["If-Range"] = tag
    for url in file.urls:
        with client.stream("GET", url, headers=headers) as response:
            if response.status_code == 404 and url != file.urls[-1]:
                continue
            if response.status_code == 416:
                advance(-_size(part))
                _forget(part)
                raise RetryableError("the hub has no such rest of the file")
            if response.status_code == 429 or response.status_code >= 500:
                raise RetryableError(f"the hub answers {response.status_code}")
            if not response.is_success:
                raise http_error(response, url)
            _take(response, file, part, have, advance)
            return


def _take(response: httpx.Response, file: RemoteFile, part: Path, have: int, advance: Advance) -> None:
    """Write the body where it belongs: behind what is there, or from the start when the hub sends all."""
    start = _start(response, have, file.size)
    length = response.headers.get("content-length") if "content-encoding" not in response.headers else None
    size = start + int(length) if length is not None else file.size
    if file.size is not None and size != file.size:
        raise FetchFailed(f"The hub lists {file.name} with {file.size:,} bytes and sends {size:,}.")
    advance(start - _size(part))
    tag = response.headers.get("etag", "")
    _tag(part).write_text("" if tag.startswith("W/") else tag)  # a weak one does not promise the same bytes
    with part.open("r+b" if start else "wb") as f:
        f.seek(start)
        f.truncate()
        for chunk in response.iter_bytes():  # as they come: larger blocks would be lost with the connection
            if size is not None and f.tell() + len(chunk) > size:
                raise FetchFailed(f"The hub sends more of {file.name} than the {size:,} bytes it announced.")
            f.write(chunk)
            advance(len(chunk))
    if size is not None and _size(part) < size:
        raise RetryableError("the connection ended early")


def _start(response: httpx.Response, have: int, size: int | None) -> int:
    """Byte at which the body begins. An older route of ModelScope sends the rest with status 200 (and its length)."""
    found = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
    if found:
        if int(found[1]) != have:
            raise RetryableError("the hub sends another part of the file than it was asked for")
        return have
    if response.status_code == 206:
        raise RetryableError("the hub does not say which part of the file it sends")
    rest = size is not None and have > 0 and response.headers.get("content-length") == str(size - have)
    return have if rest else 0


def _whole(path: Path, file: RemoteFile) -> bool:
    return path.is_file() and _difference(path, file) == ""


def _difference(path: Path, file: RemoteFile) -> str:
    """What distinguishes a file from the hub's; "" if nothing does."""
    size = _size(path)
    if file.size is not None and size != file.size:
        return f"with {size:,} instead of {file.size:,} bytes"
    if file.sha256 is None and file.git is None:
        return ""
    with path.open("rb") as f:
        if file.sha256 is not None:
            return "" if hashlib.file_digest(f, "sha256").hexdigest() == file.sha256 else "with a wrong SHA-256 checksum"
        blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)  # how git names the contents of a file
        while block := f.read(_BLOCK):
            blob.update(block)
    return "" if blob.hexdigest() == file.git else "with a wrong git checksum"


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _tag(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _forget(part: Path) -> None:
    for path in (part, _tag(part)):
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
