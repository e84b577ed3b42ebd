"""The archive itself: a tar with the manifest first, plain or packed, the same bytes for the same contents."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from hunyuanocr.bundle.install import MANIFEST, SUMS, parse_sums
from hunyuanocr.errors import HunyuanOcrError

ENDINGS = (".tar", ".tar.gz", ".tar.zst")
Content = Path | bytes
_TIME = 1_700_000_000  # of every file in an archive: two archives with the same contents are the same
_BLOCK = 1 << 20


class BundleFailed(HunyuanOcrError):
    """A bundle cannot be made, or is not what it should be."""

    code = "bundle_failed"
    hint = "Mend it and run the command again; a bundle that was there before is untouched."


def write(out: Path, top: str, contents: Mapping[str, Content]) -> None:
    """Write the archive, whole or not at all: one folder `top`, the files in the order given. Raises BundleFailed."""
    part = out.with_name(f".{out.name}.part")
    try:
        with _packed(part, out.name) as stream, tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for name, content in contents.items():
                _add(archive, f"{top}/{name}", content)
        part.replace(out)
    except OSError as e:
        raise BundleFailed(f"{out} cannot be written: {e.strerror or e}.", hint="Free space or rights.") from e
    finally:
        part.unlink(missing_ok=True)


def read_manifest(file: Path) -> dict[str, Any]:
    """The manifest of a bundle, given as its archive or as a bundle.json of its own. Raises BundleFailed."""
    if file.suffix == ".json":
        try:
            return _manifest(file.read_bytes())
        except (OSError, ValueError) as e:
            raise BundleFailed(f"{file} is no manifest of a bundle: {e}.") from e
    with _opened(file) as archive:
        first = archive.next()
        content = None if first is None or first.name.partition("/")[2] != MANIFEST else archive.extractfile(first)
        if content is None:
            raise ValueError(f"its first file is no {MANIFEST}")
        return _manifest(content.read())


def check_archive(file: Path) -> dict[str, Any]:
    """Compare every file in an archive with its checksum; its manifest. Raises BundleFailed, naming what is wrong."""
    seen: dict[str, str] = {}
    kept: dict[str, bytes] = {}
    with _opened(file) as archive:
        for member in archive:
            name = member.name.partition("/")[2]
            content = archive.extractfile(member)
            if content is None:
                raise ValueError(f"{member.name} is no file")
            digest = hashlib.sha256()
            while block := content.read(_BLOCK):
                digest.update(block)
                if name in (MANIFEST, SUMS):
                    kept[name] = kept.get(name, b"") + block
            seen[name] = digest.hexdigest()
        sums = parse_sums(kept.get(SUMS, b"").decode())
        wrong = sorted({name for name in {*seen, *sums, MANIFEST} - {SUMS} if seen.get(name, "") != sums.get(name)})
        if wrong:
            raise ValueError(f"the checksum of {wrong[0]} is wrong" + (f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""))
        return _manifest(kept[MANIFEST])


def _manifest(raw: bytes) -> dict[str, Any]:
    found = json.loads(raw)
    if not isinstance(found, dict) or not isinstance(found.get("files"), dict):
        raise ValueError("it has no list of files")
    return found


def _add(archive: tarfile.TarFile, name: str, content: Content) -> None:
    entry = tarfile.TarInfo(name)
    entry.mtime = _TIME
    if isinstance(content, bytes):
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))
        return
    found = content.stat()
    entry.size, entry.mode = found.st_size, 0o755 if found.st_mode & 0o100 else 0o644
    with content.open("rb") as f:
        archive.addfile(entry, f)


@contextmanager
def _packed(file: Path, name: str) -> Iterator[IO[bytes]]:
    """What is written comes to the file, packed as `name` says. Wheels and weights hardly shrink: the quickest levels."""
    with file.open("wb") as raw:
        if name.endswith(".zst"):
            with _zstd("-3", "--check", stdin=subprocess.PIPE, stdout=raw) as process:
                if process.stdin is not None:
                    yield process.stdin
        elif name.endswith(".gz"):
            with gzip.GzipFile(fileobj=raw, mode="wb", filename="", compresslevel=1, mtime=0) as packed:
                yield packed  # type: ignore[misc]  # a GzipFile is no IO by its types
        else:
            yield raw


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    """The archive as a stream of members. What cannot be read, and a ValueError of whoever reads, becomes BundleFailed."""
    try:
        with file.open("rb") as raw, _unpacked(file.name, raw) as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
            yield archive
    except (tarfile.TarError, EOFError, OSError, ValueError) as e:
        raise BundleFailed(f"{file} is damaged, or no bundle: {e}.", hint="Copy it again, or have it made again.") from e


def _unpacked(name: str, raw: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    return _unzstd(raw) if name.endswith(".zst") else nullcontext(raw)


@contextmanager
def _unzstd(raw: IO[bytes]) -> Iterator[IO[bytes]]:
    with _zstd("-d", stdin=raw, stdout=subprocess.PIPE) as process:
        if process.stdout is not None:
            yield process.stdout
            while process.stdout.read(_BLOCK):  # to the end, where zstd compares its own checksum
                pass


@contextmanager
def _zstd(*flags: str, stdin: Any, stdout: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The program zstd between two streams; its failure is an OSError."""
    try:
        command = ["zstd", "-q", "-c", *flags]
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL)  # noqa: S603 -- our own flags
    except FileNotFoundError as e:
        raise BundleFailed("The program zstd is not installed.", hint="Install it, or use a name that ends in .tar.gz.") from e
    try:
        yield process
        if process.stdin is not None:
            process.stdin.close()
        if status := process.wait():
            raise OSError(f"zstd ended with status {status}")
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
