"""A workbook of text cells (Office Open XML, ECMA-376), written row by row straight into its ZIP.

Nothing but that one file is written: libraries for spreadsheets put rows into named temporary files first, where they stay in
plain text when the process is killed.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import IO
from xml.sax.saxutils import escape

MAX_ROWS = 1_048_576  # of a sheet
MAX_LETTERS = 32_767  # of a cell
_MAX_SHEET_BYTES = 1 << 30  # of its XML: below what a ZIP without the 64-bit extension holds, which not every program reads
_NS = "http://schemas.openxmlformats.org"
_DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_HEAD = f'{_DECLARATION}<worksheet xmlns="{_NS}/spreadsheetml/2006/main"><sheetData>'
_TAIL = "</sheetData></worksheet>"
# What XML does not carry, as ECMA-376 (22.9.2.19) escapes it; an underscore that would begin such an escape is escaped itself.
_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


class Workbook:
    """Blocking. `rows` may be called often; every sheet begins with the head, which is the first row of all. Then `close`."""

    def __init__(self, file: IO[bytes], *, max_rows: int = MAX_ROWS) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        self._max_rows = max_rows
        self._head: Sequence[str] | None = None
        self._sheet: IO[bytes] | None = None
        self._sheets = self._row = self._size = 0

    def rows(self, rows: Iterable[Sequence[str]]) -> None:
        """Write these rows. Raises OSError, of a full disk for example."""
        for row in rows:
            if self._head is None:
                self._head = row
                self._begin_sheet()
            else:
                if self._row >= self._max_rows or self._size > _MAX_SHEET_BYTES:
                    self._begin_sheet()
                self._write_row(row)

    def _begin_sheet(self) -> None:
        self._end_sheet()
        self._sheets += 1
        self._row = self._size = 0
        self._sheet = self._zip.open(f"xl/worksheets/sheet{self._sheets}.xml", "w")
        self._write(_HEAD)
        self._write_row(self._head or ())

    def _end_sheet(self) -> None:
        if self._sheet is not None:
            self._write(_TAIL)
            self._sheet.close()
            self._sheet = None

    def _write_row(self, row: Sequence[str]) -> None:
        self._row += 1
        cells = (
            f'<c r="{_column(n)}{self._row}" t="inlineStr"><is><t xml:space="preserve">{_text(value)}</t></is></c>'
            for n, value in enumerate(row) if value
        )  # fmt: skip
        self._write(f'<row r="{self._row}">{"".join(cells)}</row>')

    def _write(self, text: str) -> None:
        if self._sheet is not None:
            data = text.encode()
            self._size += len(data)
            self._sheet.write(data)

    def close(self) -> None:
        """Write the table of contents; the file itself stays open."""
        if self._head is None:
            self._head = ()
            self._begin_sheet()
        self._end_sheet()
        for name, content in _parts(self._sheets).items():
            self._zip.writestr(name, _DECLARATION + content)
        self._zip.close()

    def abandon(self) -> None:
        """Give up what was begun; the file is of no use then."""
        with suppress(OSError, ValueError):
            self._end_sheet()
            self._zip.close()


def _text(value: str) -> str:
    return escape(_ODD.sub(lambda odd: f"_x{ord(odd[0]):04X}_", value[:MAX_LETTERS]))


def _column(n: int) -> str:
    """0 → A, 25 → Z, 26 → AA."""
    letters = ""
    n += 1
    while n:
        n, rest = divmod(n - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _parts(sheets: int) -> dict[str, str]:
    """All parts of the package but the sheets: what is in it, and how its parts belong together."""
    numbers = range(1, sheets + 1)
    office, main = f"{_NS}/officeDocument/2006/relationships", "application/vnd.openxmlformats-officedocument.spreadsheetml"
    links = f'<Relationships xmlns="{_NS}/package/2006/relationships">'
    return {
        "[Content_Types].xml": f'<Types xmlns="{_NS}/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{main}.sheet.main+xml"/>'
        + "".join(f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{main}.worksheet+xml"/>' for n in numbers)
        + "</Types>",
        "_rels/.rels": links
        + f'<Relationship Id="rId1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_NS}/spreadsheetml/2006/main" xmlns:r="{office}"><sheets>'
        + "".join(f'<sheet name="Sheet{n}" sheetId="{n}" r:id="rId{n}"/>' for n in numbers)
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": links
        + "".join(f'<Relationship Id="rId{n}" Type="{office}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n in numbers)
        + "</Relationships>",
    }
