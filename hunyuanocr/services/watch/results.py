"""Where answers and originals go. Nothing is ever overwritten, and every step may be the last one before the power fails."""

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
from hunyuanocr.files import write_atomic
from hunyuanocr.services.watch.scanner import ScannedFile

Answer = dict[str, Any]
_MAX_LENGTH = 200  # bytes of a name; most file systems take 255, and ours get something added


class ResultFiler:
    """done/ and failed/ in the watched folder, and the folder for answers: done/ itself unless `results` names another.

    Methods block, may be called from several threads and raise OSError. An answer is whole under its name or not there at all,
    and it is there before its original is moved: whenever the power fails, the file is either still to be read or has its
    answer, which is recognised by its id.
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
        """Folders that are not watched."""
        return frozenset((self.done, self.failed, self.results))

    def find_result(self, found: ScannedFile, id: str) -> Answer | None:
        """The answer, when it was written and only its original was not moved any more."""
        for name in _names(found, id):
            written, filed = os.path.lexists(_json_of(self.results / name)), os.path.lexists(self.done / name)
            if not written and not filed:
                return None
            answer = _load(_json_of(self.results / name)) if written and not filed else None
            if answer is not None and answer.get("id") == id:
                return answer
        return None

    def file_done(self, found: ScannedFile, answer: Answer, table: str | None) -> Path:
        """Write the answer (and its table), then move the original to done/; its new path. The answer holds the file's 'id'."""
        return self._file(found, answer, self.results, self.done, table=table)

    def file_failed(self, found: ScannedFile, reason: Answer) -> Path:
        """Move the original to failed/ and the reason beside it."""
        return self._file(found, reason, self.failed, self.failed)

    def _file(self, found: ScannedFile, answer: Answer, papers: Path, originals: Path, *, table: str | None = None) -> Path:
        id = answer["id"]
        text = json.dumps(answer, ensure_ascii=False, indent=2) + "\n"
        with self._lock:
            for folder in {papers, originals}:
                self._make(folder, found.path.parent)
            name = next(name for name in _names(found, id) if _is_free(papers / name, originals / name, id))
            write_atomic(_json_of(papers / name), text.encode())
            if table is not None:
                write_atomic(papers / name.with_name(name.name + ".csv"), table.encode("utf-8-sig"))  # the mark is for Excel
            move(self.root / found.path, originals / name)
        return originals / name

    def _make(self, folder: Path, below: Path) -> None:
        """The folder, and in it the same subfolders as in the watched one."""
        if folder.parent == self.root:
            if (folder / below).resolve() != self.root.resolve(strict=True) / folder.name / below:
                hint = "Put a folder in its place."
                raise ConfigError(f"In the watched folder, {folder.name}/ is a link that leads elsewhere.", hint=hint)
        else:
            folder.resolve(strict=True)  # perhaps a disk that is not mounted: nothing must be written in its place
        (folder / below).mkdir(parents=True, exist_ok=True)

    def crash_count(self, id: str) -> int:
        """How often it was begun to read this file and not ended, because the process died."""
        try:
            return (self.marker_dir / id).stat().st_size
        except FileNotFoundError:
            return 0

    def mark_started(self, id: str) -> None:
        """Note that the file is about to be read."""
        self.marker_dir.mkdir(exist_ok=True)
        with (self.marker_dir / id).open("ab") as mark:
            mark.write(b".")
            mark.flush()
            os.fsync(mark.fileno())

    def clear_mark(self, id: str) -> None:
        """Forget the note: the process outlived the file."""
        (self.marker_dir / id).unlink(missing_ok=True)


def _names(found: ScannedFile, id: str) -> Iterator[Path]:
    """Paths under which a file may be filed, the nicest first. The same file, found again, has the same ones."""
    parent, stem, suffix = found.path.parent, found.path.stem, found.path.suffix[:20]
    when = datetime.fromtimestamp(found.mtime_ns / 1e9).astimezone().strftime("%Y-%m-%d-%H%M%S")
    for added in chain(("", f"-{when}", f"-{when}-{id[:8]}"), (f"-{id}-{n}" for n in count())):
        room = _MAX_LENGTH - len(os.fsencode(added + suffix))
        kept = stem
        while len(os.fsencode(kept)) > room:
            kept = kept[:-1]
        yield parent / f"{kept}{added}{suffix}"


def _is_free(paper: Path, original: Path, id: str) -> bool:
    if os.path.lexists(original):
        return False
    written = _json_of(paper)
    if os.path.lexists(written):
        return (_load(written) or {}).get("id") == id
    return not os.path.lexists(paper.with_name(paper.name + ".csv"))


def _json_of(paper: Path) -> Path:
    return paper.with_name(paper.name + ".json")


def _load(path: Path) -> Answer | None:
    try:
        answer = json.loads(path.read_bytes())
    except ValueError:
        return None  # not one of ours
    return answer if isinstance(answer, dict) else None


def move(source: Path, target: Path) -> None:
    """Rename, or copy where `target` lies on another disk. Blocking; raises OSError."""
    try:
        source.rename(target)
    except OSError as e:
        if e.errno != errno.EXDEV:
            raise
        part = target.with_name(f".{target.name}.part")
        shutil.copy2(source, part, follow_symlinks=False)
        part.replace(target)
        source.unlink()
