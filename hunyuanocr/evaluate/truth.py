"""A folder with truth: `NAME.jpg` (or another picture), `NAME.csv` its lines, `NAME.json` its fields; either may be missing.

CSV, as published for ICDAR 2019 SROIE: `x1,y1,x2,y2,x3,y3,x4,y4,transcript` a line, in pixels of the picture; the transcript
may hold commas. JSON: field → value as printed, or null for a field that is not printed but is to be asked all the same;
`items` is a list of rows; keys that begin with `_` are about the document (`_meta`), not on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hunyuanocr.errors import InvalidValue
from hunyuanocr.types import Line

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".heic", ".heif", ".pdf"}


@dataclass(frozen=True)
class Sample:
    """One document and what truly stands on it. `lines` is None when the truth of the lines is not known."""

    path: Path
    lines: tuple[Line, ...] | None
    fields: Mapping[str, str | None]
    items: tuple[Mapping[str, str | None], ...] | None
    meta: Mapping[str, Any] = field(default_factory=dict)


def load(folder: Path) -> list[Sample]:
    """All documents of the folder that have truth, by name. Raises InvalidValue, naming the file, for truth that is broken."""
    if not folder.is_dir():
        raise InvalidValue(f"{folder} is no folder.", hint="Name a folder of pictures with .csv and .json truth beside them.")
    pictures = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES)
    samples = [_sample(p) for p in pictures if p.with_suffix(".csv").exists() or p.with_suffix(".json").exists()]
    if not samples:
        raise InvalidValue(f"{folder} holds no picture with truth.", hint="Beside NAME.jpg belongs NAME.csv or NAME.json.")
    return samples


def _sample(picture: Path) -> Sample:
    csv, record = picture.with_suffix(".csv"), picture.with_suffix(".json")
    lines = tuple(_lines(csv)) if csv.exists() else None
    truth: dict[str, Any] = {}
    if record.exists():
        try:
            truth = json.loads(record.read_text(encoding="utf-8"))
        except ValueError as e:
            raise InvalidValue(f"{record} is not JSON: {e}.", hint="Correct the file.") from e
    if not isinstance(truth, dict):
        raise InvalidValue(f"{record} holds no JSON object.", hint='It maps fields to values: {"total_amount": "36.80"}.')
    rows = truth.get("items")
    return Sample(
        path=picture,
        lines=lines,
        fields={k: None if v in (None, "") else str(v) for k, v in truth.items() if k != "items" and not k.startswith("_")},
        items=tuple(rows) if rows is not None else None,
        meta=truth.get("_meta", {}),
    )


def _lines(csv: Path) -> list[Line]:
    lines = []
    for number, row in enumerate(csv.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not row.strip():
            continue
        cells = row.split(",", 8)
        try:
            x1, y1, x2, y2, x3, y3, x4, y4 = (float(cell) for cell in cells[:8])
            lines.append(Line(cells[8].strip(), ((x1, y1), (x2, y2), (x3, y3), (x4, y4))))
        except (ValueError, IndexError) as e:
            raise InvalidValue(f"{csv}, line {number}: not eight numbers and a transcript.", hint="Correct the line.") from e
    return lines
