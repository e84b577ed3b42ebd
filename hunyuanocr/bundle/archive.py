"""The archive: a tar with the manifest first, optionally compressed; reproducible for the same contents."""

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
_TIME = 1_700_000_000  # modification time of every file, so that archives with the same contents are identical
_BLOCK = 1 << 20


class BundleFailed(HunyuanOcrError):
    """A bundle cannot be created, or is invalid."""

    code = "bundle_failed"
    hint = "Correct this and run the command again; an existing bundle is unchanged."


def write(out: Path, top: str, contents: Mapping[str, Content]) -> None:
    """Write the archive atomically: one folder `top`, the files in the given order. Raises BundleFailed."""
    part = out.with_name(f".{out.name}.part")
    try:
        with _packed(part, out.name) as stream, tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for name, content in contents.items():
                _add(archive, f"{top}/{name}", content)
        part.replace(out)
    except OSError as e:
        raise BundleFailed(f"Cannot write {out}: {e.strerror or e}.", hint="Check free disk space and write permission.") from e
    finally:
        part.unlink(missing_ok=True)


def read_manifest(file: Path) -> dict[str, Any]:
    """Return the manifest of a bundle, from its archive or from a bundle.json. Raises BundleFailed."""
    if file.suffix == ".json":
        try:
            return _manifest(file.read_bytes())
        except (OSError, ValueError) as e:
            raise BundleFailed(f"{file} is not a bundle manifest: {e}.") from e
    with _opened(file) as archive:
        first = archive.next()
        content = None if first is None or first.name.partition("/")[2] != MANIFEST else archive.extractfile(first)
        if content is None:
            raise ValueError(f"its first file is not {MANIFEST}")
        return _manifest(content.read())


def check_archive(file: Path) -> dict[str, Any]:
    """Compare every file in an archive with its checksum; return the manifest. Raises BundleFailed with the wrong file."""
    digests: dict[str, str] = {}
    stored: dict[str, bytes] = {}
    with _opened(file) as archive:
        for member in archive:
            name = member.name.partition("/")[2]
            content = archive.extractfile(member)
            if content is None:
                raise ValueError(f"{member.name} is not a file")
            digest = hashlib.sha256()
            while block := content.read(_BLOCK):
                digest.update(block)
                if name in (MANIFEST, SUMS):
                    stored[name] = stored.get(name, b"") + block
            digests[name] = digest.hexdigest()
        sums = parse_sums(stored.get(SUMS, b"").decode())
        wrong = sorted({name for name in {*digests, *sums, MANIFEST} - {SUMS} if digests.get(name, "") != sums.get(name)})
        if wrong:
            raise ValueError(f"the checksum of {wrong[0]} is wrong" + (f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""))
        return _manifest(stored[MANIFEST])


def _manifest(raw: bytes) -> dict[str, Any]:
    manifest = json.loads(raw)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ValueError("it has no list of files")
    return manifest


def _add(archive: tarfile.TarFile, name: str, content: Content) -> None:
    entry = tarfile.TarInfo(name)
    entry.mtime = _TIME
    if isinstance(content, bytes):
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))
        return
    status = content.stat()
    entry.size, entry.mode = status.st_size, 0o755 if status.st_mode & 0o100 else 0o644
    with content.open("rb") as f:
        archive.addfile(entry, f)


@contextmanager
def _packed(file: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file for writing, compressed as `name` requires. Fastest levels, because wheels and weights hardly shrink."""
    with file.open("wb") as raw:
        if name.endswith(".zst"):
            with _zstd("-3", "--check", stdin=subprocess.PIPE, stdout=raw) as process:
                if process.stdin is not None:
                    yield process.stdin
        elif name.endswith(".gz"):
            with gzip.GzipFile(fileobj=raw, mode="wb", filename="", compresslevel=1, mtime=0) as packed:
                yield packed  # type: ignore[misc]  # GzipFile is not typed as IO
        else:
            yield raw


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive as a stream of members. Read errors and ValueErrors of the caller become BundleFailed."""
    try:
        with file.open("rb") as raw, _unpacked(file.name, raw) as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
            yield archive
    except (tarfile.TarError, EOFError, OSError, ValueError) as e:
        raise BundleFailed(f"{file} is damaged or not a bundle: {e}.", hint="Copy it again, or create it again.") from e


def _unpacked(name: str, raw: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    return _unzstd(raw) if name.endswith(".zst") else nullcontext(raw)


@contextmanager
def _unzstd(raw: IO[bytes]) -> Iterator[IO[bytes]]:
    with _zstd("-d", stdin=raw, stdout=subprocess.PIPE) as process:
        if process.stdout is not None:
            yield process.stdout
            while process.stdout.read(_BLOCK):  # to the end, where zstd verifies its own checksum
                pass


@contextmanager
def _zstd(*flags: str, stdin: Any, stdout: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run zstd between two streams. Raises OSError if it fails, BundleFailed if it is not installed."""
    try:
        command = ["zstd", "-q", "-c", *flags]
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL)  # noqa: S603 -- fixed flags
    except FileNotFoundError as e:
        raise BundleFailed("zstd is not installed.", hint="Install it, or use a file name that ends in .tar.gz.") from e
    try:
        yield process
        if process.stdin is not None:
            process.stdin.close()
        if status := process.wait():
            raise OSError(f"zstd failed with status {status}")
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
