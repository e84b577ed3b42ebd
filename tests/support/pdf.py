"""Digital PDFs for tests: text objects in a standard font, optional invisible text, pictures and embedded files."""

from __future__ import annotations

import ctypes
import io
from collections.abc import Mapping, Sequence
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image

Text = tuple[str, float, float]  # text; left end and baseline in points from the top-left corner
WIDTH, HEIGHT = 400, 300
_FILL, _INVISIBLE = 0, 3  # text rendering modes


def pdf(
    texts: Sequence[Text],
    *,
    hidden: Sequence[Text] = (),
    covered: Sequence[Text] = (),
    picture: Image.Image | None = None,
    files: Mapping[str, bytes] | None = None,
    rotation: int = 0,
) -> bytes:
    """Return a PDF of one page.

    `hidden` texts draw nothing; `covered` ones lie under `picture`, which fills the lower half of the page.
    """
    document = pypdfium2.PdfDocument.new()
    page = document.new_page(WIDTH, HEIGHT)
    for text in covered:
        page.insert_obj(pypdfium2.PdfObject(_text_object(document, text, _FILL)))
    if picture is not None:
        image = pypdfium2.PdfImage.new(document)
        image.set_bitmap(pypdfium2.PdfBitmap.from_pil(picture))
        image.set_matrix(pypdfium2.PdfMatrix().scale(WIDTH, HEIGHT / 2))
        page.insert_obj(image)
    for mode, group in ((_FILL, texts), (_INVISIBLE, hidden)):
        for text in group:
            page.insert_obj(pypdfium2.PdfObject(_text_object(document, text, mode)))
    page.gen_content()
    page.set_rotation(rotation)
    for name, data in (files or {}).items():
        document.new_attachment(name).set_data(data)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def _text_object(document: pypdfium2.PdfDocument, text: Text, mode: int) -> Any:
    words, x, y = text
    item = pdfium.FPDFPageObj_NewTextObj(document, b"Helvetica", 14.0)
    letters = [ord(c) for c in words] + [0]  # UTF-16; no character outside the first plane
    pdfium.FPDFText_SetText(item, (ctypes.c_ushort * len(letters))(*letters))
    pdfium.FPDFTextObj_SetTextRenderMode(item, mode)
    pdfium.FPDFPageObj_Transform(item, 1, 0, 0, 1, x, HEIGHT - y)
    return item
