"""Results as HTML: the table of fields, text with a copy button, warnings and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.types import Field, ResultWarning
from web.i18n import Language, error_text, escape_html, field_label, translate, warning_text

_ITEM_COLUMNS = ("name", "specification", "dosage", "quantity", "unit", "unit_price", "amount")  # first, in this order
_COLUMNS = ("field", "value", "normalized", "confidence", "proof")


def numbered(fields: Sequence[Field]) -> Iterator[tuple[str, Field]]:
    """Each field and each cell of its rows with its number: "2", or "2-0-1" for the second cell of the first row."""
    for i, found in enumerate(fields):
        yield str(i), found
        for j, row in enumerate(found.rows or ()):
            for k, cell in enumerate(row.values()):
                yield f"{i}-{j}-{k}", cell


def first_marked(fields: Sequence[Field]) -> str | None:
    """The number of the first field with a box: it is shown as chosen until the person chooses another."""
    return next((key for key, found in numbered(fields) if found.box is not None), None)


def render_fields(fields: Sequence[Field], language: Language, pages: int = 1) -> str:
    """The field table. What has a box carries `data-field`, the number of that box on the picture."""
    if not fields:
        return muted(translate("no_fields", language))
    first = first_marked(fields)
    head = "".join(f'<th scope="col">{translate(column, language)}</th>' for column in _COLUMNS)
    body = "".join(_row(i, found, language, pages, first) for i, found in enumerate(fields))
    note = muted(translate("choose_row", language)) if first is not None else ""
    return f'<table class="fields"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}'


def _row(number: int, found: Field, language: Language, pages: int, first: str | None) -> str:
    name = field_label(found.key, language)
    key = f"<code>{escape_html(found.key)}</code>" if name != found.key else ""
    head = f'<th scope="row"><span>{escape_html(name)}</span>{key}</th>'
    if found.rows:
        return f'<tr class="rows">{head}<td colspan="4">{_items(number, found.rows, language, first)}</td></tr>'
    if found.value is None:
        return f'<tr class="missing">{head}<td colspan="4">{translate("missing", language)}</td></tr>'
    place = f" · {translate('page', language).format(found.page + 1)}" if pages > 1 and found.page is not None else ""
    sure = "–" if found.confidence is None else f"{int(found.confidence * 100)}%"  # rounded down: 99.8 % is no certainty
    plain = format_value(found.normalized, language)
    proof = translate("grounded" if found.grounded else "ungrounded", language)
    cells = (
        f'<td class="value">{escape_html(found.value)}</td>'
        f'<td class="normalized{" same" if plain in ("–", found.value) else ""}">{escape_html(plain)}</td>'
        f'<td class="confidence">{sure}</td>'
        f'<td class="proof {"yes" if found.grounded else "no"}">{proof}{place}</td>'
    )
    return f"<tr{_chooser(str(number), found, first)}>{head}{cells}</tr>"


def _chooser(key: str, found: Field, first: str | None) -> str:
    """Attributes that make an element choose its box, with mouse, finger or keyboard."""
    if found.box is None:
        return ""
    chosen = key == first
    return f' data-field="{key}" role="button" tabindex="0" aria-pressed="{str(chosen).lower()}"{" class=on" if chosen else ""}'


def _items(number: int, rows: Sequence[Mapping[str, Field]], language: Language, first: str | None) -> str:
    seen = dict.fromkeys(key for row in rows for key in row)
    columns = sorted(seen, key=lambda key: _ITEM_COLUMNS.index(key) if key in _ITEM_COLUMNS else len(_ITEM_COLUMNS))
    head = "".join(f'<th scope="col">{escape_html(field_label(key, language, column=True))}</th>' for key in columns)
    body = ""
    for j, row in enumerate(rows):
        keys = list(row)
        cells = ((f"{number}-{j}-{keys.index(key)}", row[key]) if key in row else ("", None) for key in columns)
        body += f"<tr>{''.join(_cell(key, cell, first) for key, cell in cells)}</tr>"
    return f'<table class="items"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(key: str, cell: Field | None, first: str | None) -> str:
    if cell is None or cell.value is None:
        return "<td>–</td>"
    return f"<td{_chooser(key, cell, first)}>{escape_html(cell.value)}</td>"


def format_value(normalized: Any, language: Language) -> str:
    """A normalised value as a person reads it."""
    if normalized is None:
        return "–"
    if isinstance(normalized, Mapping):
        if "amount" in normalized:
            return " ".join(str(part) for part in (normalized["amount"], normalized.get("currency")) if part)
        if "candidates" in normalized:
            return f" {translate('or', language)} ".join(map(str, normalized["candidates"]))
    if isinstance(normalized, Mapping | list | tuple):
        return json.dumps(normalized, ensure_ascii=False)
    return str(normalized)


def render_text(words: str, language: Language, empty: str = "") -> str:
    """Text in a box with a copy button (`page.js` copies, also on plain HTTP where browsers hide their clipboard)."""
    if not words:
        return muted(empty)
    button = (
        f'<button type="button" data-copy data-copied="{translate("copied", language)}">{translate("copy", language)}</button>'
    )
    return f'<div class="copyable">{button}<pre>{escape_html(words)}</pre></div>'


def render_error(error: HunyuanOcrError, language: Language) -> str:
    """What went wrong and what to do about it."""
    what, hint = error_text(error, language)
    return (
        f'<div class="notice error" role="alert" '
        f'data-code="{error.code}"><b>{escape_html(what)}</b><span>{escape_html(hint)}</span></div>'
    )


def render_warnings(notices: Sequence[ResultWarning], language: Language) -> str:
    """What to know about the picture, kindly."""
    return "".join(
        f'<div class="notice" role="status" data-code="{escape_html(n.code)}">{escape_html(warning_text(n, language))}</div>'
        for n in notices
    )


def muted(words: str) -> str:
    """A remark in small grey letters."""
    return f'<p class="quiet">{words}</p>'
