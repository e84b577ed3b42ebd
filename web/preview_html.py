"""HTML of the pages with their boxes: an image of each page under an SVG in pixels of the original."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from PIL import Image

from hunyuanocr.types import Field, Line, Page, Quad
from web.i18n import Language, escape_html, translate
from web.result_html import first_marked, numbered
from web.upload_store import PreviewPage

PREVIEWS = "page/previews"  # relative: a proxy may serve the page under a path prefix
MAX_PREVIEWS = 12  # the result covers all pages
_LONG_SIDE = 1600  # of a preview, pixels
_MAX_TOTAL_PIXELS = 12_000_000  # of all previews; phones can display that many


def make_previews(pages: Sequence[Page]) -> tuple[PreviewPage, ...]:
    """Return JPEGs of the first MAX_PREVIEWS pages, small enough for a phone. Blocking."""
    shown = pages[:MAX_PREVIEWS]
    side = min(_LONG_SIDE, int(math.sqrt(_MAX_TOTAL_PIXELS / max(len(shown), 1))))
    return tuple(_preview(page, side) for page in shown)


def _preview(page: Page, side: int) -> PreviewPage:
    image = Image.fromarray(page.pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=82)
    return PreviewPage(out.getvalue(), page.width, page.height)


def render_pages(
    shown: Sequence[PreviewPage],
    pages: int,
    language: Language,
    lines: Sequence[Line] = (),
    fields: Sequence[Field] = (),
    *,
    token: str,
) -> str:
    """Return HTML of the pages. `web.uploads` serves their previews under `token`.

    Boxes of fields have the attribute `data-box`, which matches `data-field` of the table rows.
    """
    marks = list(numbered(fields))
    first = first_marked(fields)
    html = ""
    for number, sheet in enumerate(shown):
        shapes = [_shape('class="line"', line.box, line.text) for line in lines if line.page == number]
        shapes += [
            _shape(f'class="mark{" on" if key == first else ""}" data-box="{key}"', mark.box, mark.value or "")
            for key, mark in marks
            if mark.box is not None and (mark.page or 0) == number
        ]
        html += _figure(
            f"{PREVIEWS}/{token}/{number}", number, sheet, translate("page", language).format(number + 1), "".join(shapes)
        )
    if pages > len(shown):
        html += f'<p class="quiet">{translate("more_pages", language).format(len(shown))}</p>'
    return f'<div class="sheets">{html}</div>'


def _shape(attributes: str, box: Quad, title: str) -> str:
    points = " ".join(f"{x:g},{y:g}" for x, y in box)
    return f'<polygon {attributes} points="{points}"><title>{escape_html(title)}</title></polygon>'


def _figure(source: str, number: int, sheet: PreviewPage, alt: str, shapes: str) -> str:
    return (
        f'<figure class="sheet" data-page="{number}"><img alt="{alt}" src="{escape_html(source)}" '
        f'width="{sheet.width}" height="{sheet.height}">'
        f'<svg viewBox="0 0 {sheet.width} {sheet.height}" preserveAspectRatio="none">{shapes}</svg></figure>'
    )
