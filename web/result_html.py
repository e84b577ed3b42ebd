"""HTML of results: the table of fields, text with a copy button, warnings and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hunyuanocr.error_texts import error_text
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.types import Code, Field, ResultWarning
from web.i18n import Language, doubt_text, escape_html, field_label, translate, warning_text

_ITEM_COLUMNS = ("name", "specification", "dosage", "quantity", "unit", "unit_price", "amount")  # shown first, in this order
_MAX_CODE_LENGTH = 500  # characters of a payload that are shown
_SEPARATORS: Mapping[Language, str] = {"zh": "；", "en": "; "}
_COLUMNS = ("field", "value", "normalized", "confidence", "proof")


def numbered(fields: Sequence[Field]) -> Iterator[tuple[str, Field]]:
    """Yield each field and each cell of its rows with an id: "2", or "2-0-1" for the second cell of the first row."""
    for i, item in enumerate(fields):
        yield str(i), item
        for j, row in enumerate(item.rows or ()):
            for k, cell in enumerate(row.values()):
                yield f"{i}-{j}-{k}", cell


def first_marked(fields: Sequence[Field]) -> str | None:
    """Return the id of the first field with a box, which is selected initially."""
    return next((key for key, item in numbered(fields) if item.box is not None), None)


def render_fields(fields: Sequence[Field], language: Language, pages: int = 1) -> str:
    """Return the table of fields. Elements with a box have the attribute `data-field`, which matches `data-box` on the image."""
    if not fields:
        return muted(translate("no_fields", language))
    first = first_marked(fields)
    head = "".join(f'<th scope="col">{translate(column, language)}</th>' for column in _COLUMNS)
    body = "".join(_row(i, item, language, pages, first) for i, item in enumerate(fields))
    note = muted(translate("choose_row", language)) if first is not None else ""
    return f'<table class="fields"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}'


def _row(number: int, item: Field, language: Language, pages: int, first: str | None) -> str:
    name = field_label(item.key, language)
    key = f"<code>{escape_html(item.key)}</code>" if name != item.key else ""
    head = f'<th scope="row"><span>{escape_html(name)}</span>{key}</th>'
    if item.rows:
        return f'<tr class="rows">{head}<td colspan="4">{_items(number, item.rows, language, first)}</td></tr>'
    if item.value is None:
        return f'<tr class="missing">{head}<td colspan="4">{escape_html(_missing(item, language))}</td></tr>'
    place = f" · {translate('page', language).format(item.page + 1)}" if pages > 1 and item.page is not None else ""
    confidence = "–" if item.confidence is None else f"{int(item.confidence * 100)}%"  # rounded down: 99.8 % is not 100 %
    normalized = format_value(item.normalized, language)
    state, proof = _proof(item, language)
    cells = (
        f'<td class="value">{escape_html(item.value)}</td>'
        f'<td class="normalized{" same" if normalized in ("–", item.value) else ""}">{escape_html(normalized)}</td>'
        f'<td class="confidence">{confidence}</td>'
        f'<td class="proof {state}">{escape_html(proof)}{place}</td>'
    )
    return f"<tr{_select_attributes(str(number), item, first)}>{head}{cells}</tr>"


def _proof(item: Field, language: Language) -> tuple[str, str]:
    """Return the class and the text of the cell that says whether the value was checked."""
    if item.doubts:
        missing = [] if item.grounded else [translate("ungrounded", language)]
        return "no doubt", _SEPARATORS[language].join([*missing, _doubts(item, language)])
    return ("yes", translate("grounded", language)) if item.grounded else ("no", translate("ungrounded", language))


def _doubts(item: Field, language: Language) -> str:
    """Return the doubts and the other values that may be the answer."""
    parts = [doubt_text(doubt, language) for doubt in item.doubts]
    if item.alternatives:
        between = "、" if language == "zh" else ", "
        parts.append(translate("also", language).format(between.join(a.value for a in item.alternatives)))
    return _SEPARATORS[language].join(parts)


def _missing(item: Field, language: Language) -> str:
    """Return why a value is missing, with doubts, or with names to try instead of an unknown one."""
    if item.reason != "unknown_field":
        said = translate("label_only" if item.reason == "label_without_value" else "missing", language)
        return f"{said} · {_doubts(item, language)}" if item.doubts else said
    names = ("、" if language == "zh" else ", ").join(field_label(name, language) for name in item.suggestions)
    return translate("unknown", language).format(names)


def _select_attributes(key: str, item: Field, first: str | None) -> str:
    """Return attributes that make an element select its box by click, touch or keyboard."""
    if item.box is None:
        return ""
    selected = key == first
    return (
        f' data-field="{key}" role="button" tabindex="0" aria-pressed="{str(selected).lower()}"{" class=on" if selected else ""}'
    )


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
    return f"<td{_select_attributes(key, cell, first)}>{escape_html(cell.value)}</td>"


def format_value(normalized: Any, language: Language) -> str:
    """Return a normalized value as readable text."""
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


def render_text(text: str, language: Language, placeholder: str = "") -> str:
    """Return text in a box with a copy button, or the placeholder if there is none. `page.js` handles the button."""
    if not text:
        return muted(placeholder)
    button = (
        f'<button type="button" data-copy data-copied="{translate("copied", language)}">{translate("copy", language)}</button>'
    )
    return f'<div class="copyable">{button}<pre>{escape_html(text)}</pre></div>'


def render_codes(codes: Sequence[Code], language: Language) -> str:
    """Return the payloads of QR and bar codes as plain text: an address in a code may be harmful, so that it is not a link."""
    rows = ""
    for code in codes:
        name = translate("qr_code" if code.format == "QRCode" else "bar_code", language)
        text = code.text if len(code.text) <= _MAX_CODE_LENGTH else f"{code.text[:_MAX_CODE_LENGTH]}…"
        rows += f"<div><dt>{name}</dt><dd>{escape_html(text)}</dd></div>"
    return f'<dl class="codes">{rows}</dl>' if rows else ""


def render_error(error: HunyuanOcrError, language: Language) -> str:
    """Return the message and the hint of an error."""
    message, hint = error_text(error, language)
    return (
        f'<div class="notice error" role="alert" '
        f'data-code="{error.code}"><b>{escape_html(message)}</b><span>{escape_html(hint)}</span></div>'
    )


def render_warnings(warnings: Sequence[ResultWarning], language: Language) -> str:
    """Return the warnings about the image."""
    return "".join(
        f'<div class="notice" role="status" data-code="{escape_html(warning.code)}">'
        f"{escape_html(warning_text(warning, language))}</div>"
        for warning in warnings
    )


def muted(html: str) -> str:
    """Return a remark in small grey letters."""
    return f'<p class="quiet">{html}</p>'
