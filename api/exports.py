"""Records as files: CSV, XLSX, JSON Lines. Read page by page, so that a hundred thousand of them need no memory."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from asyncio import to_thread
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import IO, Any

from xlsxwriter import Workbook

from api.schemas.records import Place, RecordDetail
from hunyuanocr.errors import StoreUnavailable
from hunyuanocr.services.csv_safety import escape_cell
from hunyuanocr.store import records
from hunyuanocr.store.database import Database
from hunyuanocr.store.records import Packed, Record
from hunyuanocr.store.search import RecordQuery
from hunyuanocr.store.workdir import EXPORT, workdir

MAX_COLUMNS = 500  # of fields
_PAGE = 500
_BEFORE = ("id", "time", "device", "source", "task", "instruction")
_AFTER = ("confidence", "warnings", "text")
_MAX_ROWS = 1_048_576  # of a sheet
_MAX_CELL = 32_767  # characters
_BLOCK = 256 * 1024

Rows = AsyncGenerator[list[str], None]


async def iter_rows(database: Database, query: RecordQuery) -> Rows:
    """The heading, then a row a record, the newest first. A column a field, in alphabetical order."""
    keys = await database.read(records.keys, query, MAX_COLUMNS)
    yield [*_BEFORE, *keys, *_AFTER]
    after: Place | None = None
    while page := await database.read(records.search, query, _PAGE, after):
        for record in page:
            yield _row(record, keys)
        after = page[-1].created_at, page[-1].id


def _row(record: Record, keys: Sequence[str]) -> list[str]:
    time = record.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")  # the machine's own: people read this
    before = [record.id, time, record.device, record.source, record.task, record.instruction]
    warnings = " ".join(dict.fromkeys(w["code"] for w in record.warnings))
    confidence = "" if record.confidence is None else f"{record.confidence:.4f}"
    return [_text(value) for value in (*before, *(record.fields.get(key) for key in keys), confidence, warnings, record.text)]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


async def stream_csv(lines: Rows) -> AsyncIterator[bytes]:
    """UTF-8 with the mark by which Excel knows it, lines ended as RFC 4180 has them, nothing that a spreadsheet would compute."""
    buffer = io.StringIO()
    buffer.write("\ufeff")
    writer = csv.writer(buffer)
    async with aclosing(lines):
        async for line in lines:
            writer.writerow([escape_cell(value) for value in line])
            if buffer.tell() > _BLOCK:
                yield buffer.getvalue().encode()
                buffer.seek(0)
                buffer.truncate()
    yield buffer.getvalue().encode()


async def stream_jsonl(database: Database, query: RecordQuery) -> AsyncIterator[bytes]:
    """A record a line, whole."""
    after: Place | None = None
    while page := await database.read(records.search_results, query, _PAGE // 5, after):
        yield await to_thread(_json_lines, page)
        after = page[-1][0].created_at, page[-1][0].id


def _json_lines(page: Sequence[tuple[Record, Packed]]) -> bytes:
    lines = (RecordDetail.whole(record, packed).model_dump(mode="json") for record, packed in page)
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


async def write_xlsx(lines: Rows, data_folder: Path) -> IO[bytes]:
    """Return a finished workbook, at its beginning, in a file without a name. All cells are text.

    The library keeps rows in named files until the book is closed: they lie in a folder of the data folder, which the next start
    deletes where this process is killed.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115 -- whoever sends it closes it
    try:
        with workdir(data_folder, EXPORT) as folder:
            options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "tmpdir": str(folder)}
            book = Workbook(file, options)
            async with aclosing(lines):
                await _fill(book, lines)
            await to_thread(book.close)
    except OSError as e:
        file.close()
        hint = "Check free disk space and write permission of the data folder."
        raise StoreUnavailable(f"The workbook cannot be written: {e.strerror or e}.", hint=hint) from e
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


async def _fill(book: Workbook, lines: Rows) -> None:
    head: list[str] = []
    sheet: Any = None
    n = _MAX_ROWS
    async for line in lines:
        head = head or line
        if n == _MAX_ROWS:
            sheet = book.add_worksheet()
            sheet.write_row(0, 0, head)
            n = 1
            if line is head:
                continue
        for column, value in enumerate(line):
            sheet.write_string(n, column, value[:_MAX_CELL])
        n += 1


async def iter_file(file: IO[bytes]) -> AsyncIterator[bytes]:
    """What is in a file, which is closed after it."""
    try:
        while block := await to_thread(file.read, _BLOCK):
            yield block
    finally:
        file.close()
