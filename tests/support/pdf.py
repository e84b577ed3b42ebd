"""Digital PDFs for tests: text objects in a standard font, optional invisible text, pictures and embedded files."""

from __future__ import annotations

import ctypes
import io
from collections.abc import Mapping, Sequence

import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image

Text = tuple[str, float, float]  # text; left end and baseline in points from the top-left corner
WIDTH, HEIGHT = 400, 300
_INVISIBLE = 3  # text rendering mode


def pdf(
    texts: Sequence[Text],
    *,
    hidden: Sequence[Text] = (),
    picture: Image.Image | None = None,
    files: Mapping[str, bytes] | None = None,
    rotation: int = 0,
) -> bytes:
    """Return a PDF of one page; `hidden` texts draw nothing, `picture` fills the lower half of the page."""
    document = pypdfium2.PdfDocument.new()
    page = document.new_page(WIDTH, HEIGHT)
    if picture is not None:
        image = pypdfium2.PdfImage.new(document)
        image.set_bitmap(pypdfium2.PdfBitmap.from_pil(picture))
        image.set_matrix(pypdfium2.PdfMatrix().scale(WIDTH, HEIGHT / 2))
        page.insert_obj(image)
    for mode, group in ((0, texts), (_INVISIBLE, hidden)):
        for text, x, y in group:
            item = pdfium.FPDFPageObj_NewTextObj(document, b"Helvetica", 14.0)
            letters = [ord(c) for c in text] + [0]  # UTF-16; no character outside the first plane
            pdfium.FPDFText_SetText(item, (ctypes.c_ushort * len(letters))(*letters))
            pdfium.FPDFTextObj_SetTextRenderMode(item, mode)
            pdfium.FPDFPageObj_Transform(item, 1, 0, 0, 1, x, HEIGHT - y)
            pdfium.FPDFPage_InsertObject(page, item)
    page.gen_content()
    page.set_rotation(rotation)
    for name, data in (files or {}).items():
        document.new_attachment(name).set_data(data)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()
