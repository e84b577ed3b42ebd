"""Write results and move originals. Nothing is overwritten, and a power failure after any step loses nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Iterator
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

from hunyuanocr.errors import ConfigError
from hunyuanocr.files import replacing, write_atomic
from hunyuanocr.services.watch.scanner import ScannedFile

Answer = dict[str, Any]
_MAX_NAME_BYTES = 200  # most file systems allow 255; suffixes are added


class ResultFiler:
    """The folders done/ and failed/ in the watched folder, and the folder for results: done/ unless `results` is set.

    Methods block, are thread-safe and raise OSError. A result file is complete or absent, and is written before its original is
    moved: after a power failure, a file is either read again or has its result, which is recognised by its id.
    """

    def __init__(self, root: Path, results: Path | None = None) -> None:
        self.root = root
        self.done = root / "done"
        self.failed = root / "failed"
        self.marker_dir = root / ".hunyuanocr"
        self.results = self.done if results is None else results
        self._lock = threading.Lock()

    @property
    def own(self) -> frozenset[Path]:
        """Folders that are not scanned."""
        return frozenset((self.done, self.failed, self.results))

    def find_result(self, found: ScannedFile, id: str) -> Answer | None:
        """Return the result if it was written but its original was not moved."""
        for name in _names(found, id):
            written, filed = os.path.lexists(_json_of(self.results / name)), os.path.lexists(self.done / name)
            if not written and not filed:
                return None
            answer = _load(_json_of(self.results / name)) if written and not filed else None
            if answer is not None and answer.get("id") == id:
                return answer
        return None

    def file_done(self, found: ScannedFile, answer: Answer, table: str | None) -> Path:
        """Write the result (and its table), then move the original to done/; return its new path. `answer` holds the 'id'."""
        return self._file(found, answer, self.results, self.done, table=table)

    def file_failed(self, found: ScannedFile, reason: Answer) -> Path:
        """Move the original to failed/ and write the reason next to it."""
        return self._file(found, reason, self.failed, self.failed)

    def _file(self, found: ScannedFile, answer: Answer, results: Path, originals: Path, *, table: str | None = None) -> Path:
        id = answer["id"]
        text = json.dumps(answer, ensure_ascii=False, indent=2) + "\n"
        with self._lock:
            for folder in {results, originals}:
                self._create(folder, found.path.parent)
            name = next(name for name in _names(found, id) if _is_free(results / name, originals / name, id))
            write_atomic(_json_of(results / name), text.encode())
            if table is not None:
                write_atomic(results / name.with_name(name.name + ".csv"), table.encode("utf-8-sig"))  # the BOM is for Excel
            move(self.root / found.path, originals / name)
        return originals / name

    def _create(self, folder: Path, below: Path) -> None:
        """Create the folder, and in it the same subfolders as in the watched one."""
        if folder.parent == self.root:
            if (folder / below).resolve() != self.root.resolve(strict=True) / folder.name / below:
                hint = "Replace it with a folder."
                raise ConfigError(f"{folder.name}/ in the watched folder is a link to another place.", hint=hint)
        else:
            folder.resolve(strict=True)  # possibly an unmounted disk: do not create a folder in its place
        (folder / below).mkdir(parents=True, exist_ok=True)

    def crash_count(self, id: str) -> int:
        """Return how often reading this file was started and not finished, because the process crashed."""
        try:
            return (self.marker_dir / id).stat().st_size
        except FileNotFoundError:
            return 0

    def mark_started(self, id: str) -> None:
        """Record that reading this file starts."""
        self.marker_dir.mkdir(exist_ok=True)
        with (self.marker_dir / id).open("ab") as marker:
            marker.write(b".")
            marker.flush()
            os.fsync(marker.fileno())

    def clear_mark(self, id: str) -> None:
        """Remove the marker: the process survived the file."""
        (self.marker_dir / id).unlink(missing_ok=True)


def _names(found: ScannedFile, id: str) -> Iterator[Path]:
    """Yield the possible target paths, simplest first. They are the same each time for the same file."""
    parent, stem, suffix = found.path.parent, found.path.stem, found.path.suffix[:20]
    when = datetime.fromtimestamp(found.mtime_ns / 1e9).astimezone().strftime("%Y-%m-%d-%H%M%S")
    for added in chain(("", f"-{when}", f"-{when}-{id[:8]}"), (f"-{id}-{n}" for n in count())):
        limit = _MAX_NAME_BYTES - len(os.fsencode(added + suffix))
        shortened = stem
        while len(os.fsencode(shortened)) > limit:
            shortened = shortened[:-1]
        yield parent / f"{shortened}{added}{suffix}"


def _is_free(result: Path, original: Path, id: str) -> bool:
    if os.path.lexists(original):
        return False
    written = _json_of(result)
    if os.path.lexists(written):
        return (_load(written) or {}).get("id") == id
    return not os.path.lexists(result.with_name(result.name + ".csv"))


def _json_of(result: Path) -> Path:
    return result.with_name(result.name + ".json")


def _load(path: Path) -> Answer | None:
    try:
        answer = json.loads(path.read_bytes())
    except ValueError:
        return None  # not written by this program
    return answer if isinstance(answer, dict) else None


def move(source: Path, target: Path) -> None:
    """Rename, or copy and delete if `target` is on another disk. Blocking; raises OSError."""
    try:
        source.rename(target)
    except OSError as e:
        if e.errno != errno.EXDEV:
            raise
        with replacing(target) as part:
            shutil.copy2(source, part, follow_symlinks=False)
        source.unlink()
