"""A folder of labelled images: `NAME.jpg` (or another format), `NAME.csv` with its lines, `NAME.json` with its fields.

One of the two labels can be missing.

CSV, as published for ICDAR 2019 SROIE: one `x1,y1,x2,y2,x3,y3,x4,y4,transcript` per line, in pixels of the image; the transcript
may contain commas. JSON: any key → value as printed, a list of values of which each is right, or null for a field that is not
printed but requested anyway; `items` (or 明细 …) is a list of rows; keys with a leading `_` are metadata (`_meta`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hunyuanocr.errors import InvalidValue
from hunyuanocr.fields.line_items.header import column_for
from hunyuanocr.types import Line

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".heic", ".heif", ".pdf"}


@dataclass(frozen=True)
class LabelledDocument:
    """One document and its labels. `lines` is None if they are not labelled."""

    path: Path
    lines: tuple[Line, ...] | None
    fields: Mapping[str, str | None]
    items: tuple[Mapping[str, str | None], ...] | None
    meta: Mapping[str, Any] = field(default_factory=dict)
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # further right values of fields

    def accepted(self, key: str) -> tuple[str, ...]:
        """Return all right values of a field; none if it is not printed."""
        first = self.fields[key]
        return () if first is None else (first, *self.also.get(key, ()))


def load_dataset(folder: Path) -> list[LabelledDocument]:
    """Return all labelled documents of the folder, sorted by name. Raises InvalidValue, with the file, for invalid labels."""
    if not folder.is_dir():
        raise InvalidValue(f"{folder} is not a folder.", hint="Use a folder of images with .csv and .json labels next to them.")
    images = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES)
    samples = [_sample(p) for p in images if p.with_suffix(".csv").exists() or p.with_suffix(".json").exists()]
    if not samples:
        raise InvalidValue(f"{folder} contains no labelled image.", hint="Write NAME.csv or NAME.json next to NAME.jpg.")
    return samples


def _sample(image: Path) -> LabelledDocument:
    csv, record = image.with_suffix(".csv"), image.with_suffix(".json")
    truth = _record(record) if record.exists() else {}
    about = {k: v for k, v in truth.items() if k.startswith("_")}
    printed = {k: v for k, v in truth.items() if k not in about}
    _check_items(printed, record)
    rows = [v for v in printed.values() if isinstance(v, list) and any(isinstance(row, (dict, list)) for row in v)]
    values = {k: _accepted(v) for k, v in printed.items() if k != "items" and not any(v is r for r in rows)}
    return LabelledDocument(
        path=image,
        lines=tuple(_lines(csv)) if csv.exists() else None,
        fields={k: v[0] if v else None for k, v in values.items()},
        items=tuple(_row(row, record) for row in rows[0]) if rows else None,
        meta=about.get("_meta") or {},
        also={k: v[1:] for k, v in values.items() if len(v) > 1},
    )


def _accepted(value: Any) -> tuple[str, ...]:
    """Return the right values of a field: one, each of a list, or none."""
    listed = value if isinstance(value, list) else [value]
    return tuple(str(one) for one in listed if one not in (None, ""))


def _check_items(printed: Mapping[str, Any], record: Path) -> None:
    """Raise InvalidValue if the line items are not rows."""
    if printed.get("items") and not any(isinstance(row, (dict, list)) for row in printed["items"]):
        raise InvalidValue(f"{record}: a line item is not an object.", hint='A row is {"name": "tea", "amount": "9.00"}.')


def _record(path: Path) -> dict[str, Any]:
    try:
        truth = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as e:
        raise InvalidValue(f"{path} is not JSON in UTF-8: {e}.", hint="Correct the file.") from e
    if not isinstance(truth, dict) or not isinstance(truth.get("_meta") or {}, dict):
        raise InvalidValue(f"{path} is not a JSON object.", hint='It maps fields to values: {"total_amount": "36.80"}.')
    return truth


def _row(row: Any, record: Path) -> dict[str, str | None]:
    """Return a line item with the column names of results: 名称 and 金额 become name and amount."""
    if not isinstance(row, dict):
        raise InvalidValue(f"{record}: a line item is not an object.", hint='A row is {"name": "tea", "amount": "9.00"}.')
    return {column_for(key) or key: None if value in (None, "") else str(value) for key, value in row.items()}


def _lines(csv: Path) -> list[Line]:
    try:
        text = csv.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise InvalidValue(f"{csv} is not UTF-8.", hint="Save it as UTF-8 (spreadsheets: 'CSV UTF-8').") from e
    return [_line(row, f"{csv}, line {number}") for number, row in enumerate(text.splitlines(), start=1) if row.strip()]


def _line(row: str, where: str) -> Line:
    cells = row.split(",", 8)
    try:
        x1, y1, x2, y2, x3, y3, x4, y4 = (float(cell) for cell in cells[:8])
        return Line(cells[8].strip(), ((x1, y1), (x2, y2), (x3, y3), (x4, y4)))
    except (ValueError, IndexError) as e:
        raise InvalidValue(f"{where}: expected eight numbers and a transcript.", hint="Correct the line.") from e
