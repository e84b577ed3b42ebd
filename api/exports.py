"""Export records as CSV, XLSX or JSON Lines. Records are read in pages, so memory use does not grow with their number."""

from __future__ import annotations

import io
import json
import tempfile
from asyncio import to_thread
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from xlsxwriter import Workbook

from api.schemas.records import PageEnd, RecordDetail
from hunyuanocr.errors import StoreUnavailable
from hunyuanocr.services.csv_safety import csv_row, to_text
from hunyuanocr.store import records
from hunyuanocr.store.database import Database
from hunyuanocr.store.records import Packed, Record
from hunyuanocr.store.search import RecordQuery
from hunyuanocr.store.workdir import EXPORT, workdir

MAX_COLUMNS = 500  # columns for fields
_LEADING_COLUMNS = ("id", "time", "device", "source", "task", "instruction")
_TRAILING_COLUMNS = ("confidence", "warnings", "text")
_MAX_CELL_LENGTH = 32_767  # characters, as Excel limits it
_BLOCK_SIZE = 256 * 1024

Rows = AsyncGenerator[list[str], None]


@dataclass(frozen=True)
class ExportLimits:
    """`page_size`: records read at a time. `max_rows`: rows of a worksheet, as Excel limits them."""

    page_size: int = 500
    max_rows: int = 1_048_576


_LIMITS = ExportLimits()


def export_limits() -> ExportLimits:
    """Return the limits of the exports, a dependency of the route."""
    return _LIMITS


async def iter_rows(database: Database, query: RecordQuery, page_size: int = _LIMITS.page_size) -> Rows:
    """Yield the header row, then one row for each record, newest first. Each field has a column, in alphabetical order."""
    keys = await database.read(records.keys, query, MAX_COLUMNS)
    yield [*_LEADING_COLUMNS, *keys, *_TRAILING_COLUMNS]
    after: PageEnd | None = None
    while page := await database.read(records.search, query, page_size, after):
        for record in page:
            yield _row(record, keys)
        after = page[-1].created_at, page[-1].id


def _row(record: Record, keys: Sequence[str]) -> list[str]:
    time = record.created_at.astimezone().isoformat(" ", "seconds")  # local, because the file is for people; with its offset
    before = [record.id, time, record.device, record.source, record.task, record.instruction]
    warnings = " ".join(dict.fromkeys(w["code"] for w in record.warnings))
    confidence = "" if record.confidence is None else f"{record.confidence:.4f}"
    return [to_text(value) for value in (*before, *(record.fields.get(key) for key in keys), confidence, warnings, record.text)]


async def stream_csv(rows: Rows) -> AsyncIterator[bytes]:
    """Yield CSV in UTF-8 with a byte order mark, for Excel; all cells quoted, formulas and identifiers escaped."""
    buffer = io.StringIO()
    buffer.write("\ufeff")
    async with aclosing(rows):
        async for row in rows:
            buffer.write(csv_row(row))
            if buffer.tell() > _BLOCK_SIZE:
                yield buffer.getvalue().encode()
                buffer.seek(0)
                buffer.truncate()
    yield buffer.getvalue().encode()


async def stream_jsonl(database: Database, query: RecordQuery, page_size: int = _LIMITS.page_size) -> AsyncIterator[bytes]:
    """Yield JSON Lines: one whole record per line."""
    after: PageEnd | None = None
    while page := await database.read(records.search_results, query, page_size // 5, after):
        yield await to_thread(_json_lines, page)
        after = page[-1][0].created_at, page[-1][0].id


def _json_lines(page: Sequence[tuple[Record, Packed]]) -> bytes:
    rows = (RecordDetail.from_stored(record, encoded).model_dump(mode="json") for record, encoded in page)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


async def write_xlsx(rows: Rows, data_folder: Path, max_rows: int = _LIMITS.max_rows) -> IO[bytes]:
    """Return a workbook in an unnamed temporary file, positioned at the start. All cells are text. Raises StoreUnavailable.

    The library writes rows to named temporary files until the workbook is closed. They are in a work folder inside the data
    folder, which the next start deletes if this process is killed.
    """
    file: IO[bytes] | None = None
    try:
        with workdir(data_folder, EXPORT) as folder:
            file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 -- the caller closes it; it has no name
            options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "tmpdir": str(folder)}
            book = Workbook(file, options)
            async with aclosing(rows):
                await _fill(book, rows, max_rows)
            await to_thread(book.close)
    except OSError as e:
        _close(file)
        hint = "Check free disk space and write permission of the data folder."
        raise StoreUnavailable(f"Cannot write the workbook: {e.strerror or e}.", hint=hint) from e
    except BaseException:
        _close(file)
        raise
    file.seek(0)
    return file


def _close(file: IO[bytes] | None) -> None:
    if file is not None:
        file.close()


async def _fill(book: Workbook, rows: Rows, max_rows: int) -> None:
    header: list[str] = []
    sheet: Any = None
    row_number = max_rows
    async for row in rows:
        header = header or row
        if row_number == max_rows:
            sheet = book.add_worksheet()
            sheet.write_row(0, 0, header)
            row_number = 1
            if row is header:
                continue
        for column, value in enumerate(row):
            sheet.write_string(row_number, column, value[:_MAX_CELL_LENGTH])
        row_number += 1


async def iter_file(file: IO[bytes]) -> AsyncIterator[bytes]:
    """Yield the contents of `file` in blocks, then close it."""
    try:
        while block := await to_thread(file.read, _BLOCK_SIZE):
            yield block
    finally:
        file.close()
