"""Files that were made to hang, starve or crash the program that opens them. Each is small."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping

from PIL import Image

CATALOGUE = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>"]
A4 = b"/MediaBox[0 0 595 842]"


def pdf(objects: list[bytes], trailer: bytes = b"") -> bytes:
    out, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    tail = b"trailer\n<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, trailer, len(out))
    return out + head + table + tail


def stream(body: bytes, extra: bytes = b"", layers: int = 1) -> bytes:
    for _ in range(layers):
        body = zlib.compress(body, 9)
    return b"<</Length %d/Filter[%s]%s>>stream\n%s\nendstream" % (len(body), b"/FlateDecode" * layers, extra, body)


def page(content: bytes, resources: bytes = b"", *more: bytes) -> bytes:
    leaf = b"<</Type/Page/Parent 2 0 R%s/Resources<<%s>>/Contents 4 0 R>>" % (A4, resources)
    return pdf([*CATALOGUE, leaf, stream(content), *more])


def shadings(count: int = 100_000) -> bytes:
    """1.5 KB: a radial gradient over the whole page, drawn again and again; hours."""
    function = b"<</FunctionType 2/Domain[0 1]/C0[1 0 0]/C1[0 0 1]/N 1>>"
    shading = b"<</ShadingType 3/ColorSpace/DeviceRGB/Coords[300 400 0 300 400 500]/Function %s/Extend[true true]>>" % function
    return page(b"/S sh\n" * count, b"/Shading<</S 5 0 R>>", shading)


def flate_bomb(megabytes: int = 320, times: int = 16) -> bytes:
    """1.2 KB that unfold, doubly compressed, to 320 MB, named sixteen times: 5 GB."""
    leaf = b"<</Type/Page/Parent 2 0 R%s/Contents[%s]>>" % (A4, b"4 0 R " * times)
    return pdf([*CATALOGUE, leaf, stream(b" " * (megabytes * 1_000_000), layers=2)])


def nested_forms(depth: int = 9, width: int = 10) -> bytes:
    """2 KB: a form that draws another one ten times, and so on."""
    box = b"/Type/XObject/Subtype/Form/BBox[0 0 595 842]"
    forms = [stream(b"/F Do " * width, box + b"/Resources<</XObject<</F %d 0 R>>>>" % (6 + level)) for level in range(depth)]
    return page(b"/F Do", b"/XObject<</F 5 0 R>>", *forms, stream(b"0 0 500 500 re f", box))


def many_annotations(count: int = 100_000) -> bytes:
    leaf = b"<</Type/Page/Parent 2 0 R%s/Annots[%s]>>" % (A4, b"4 0 R " * count)
    stamp = b"<</Type/Annot/Subtype/Stamp/Rect[0 0 500 500]/AP<</N 5 0 R>>>>"
    shown = stream(b"1 0 0 rg 0 0 500 500 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 500 500]")
    return pdf([*CATALOGUE, leaf, stamp, shown])


def form_fields(count: int = 15_000) -> bytes:
    names = b"".join(b"%d 0 R " % (5 + n) for n in range(count))
    field = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(f%d)/V(abc)/Rect[0 0 500 500]/DA(/Helv 12 Tf)>>"
    catalogue = b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[%s]>>>>" % names
    leaf = b"<</Type/Page/Parent 2 0 R%s/Annots[%s]>>" % (A4, names)
    return pdf([catalogue, CATALOGUE[1], leaf, b"null", *(field % n for n in range(count))])


def tiling(count: int = 2000) -> bytes:
    """A pattern of a hundredth of a point, over the page."""
    kind = b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 1 1]/XStep .01/YStep .01/Resources<<>>"
    return page(b"/Pattern cs /P scn 0 0 595 842 re f\n" * count, b"/Pattern<</P 5 0 R>>", stream(b"0 0 1 1 re f", kind))


def transparency(count: int = 20_000) -> bytes:
    group = b"/Type/XObject/Subtype/Form/BBox[0 0 595 842]/Group<</S/Transparency/I true>>"
    states = b"/XObject<</F 5 0 R>>/ExtGState<</G<</ca .5/BM/Luminosity>>>>"
    return page(b"/G gs " + b"/F Do " * count, states, stream(b"0 0 595 842 re f", group))


def deep_tree(depth: int = 20_000) -> bytes:
    nodes = [b"<</Type/Pages/Kids[%d 0 R]/Count 1>>" % (number + 3) for number in range(depth)]
    return pdf([CATALOGUE[0], *nodes, b"<</Type/Page/MediaBox[0 0 72 72]>>"])


def lying_count() -> bytes:
    leaf = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>"
    return pdf([CATALOGUE[0], b"<</Type/Pages/Kids[3 0 R]/Count 10>>", leaf])


def huge_image() -> bytes:
    """40,000 × 40,000 pixels of four channels: 6.4 GB."""
    shape = b"/Type/XObject/Subtype/Image/Width 40000/Height 40000/ColorSpace/DeviceCMYK/BitsPerComponent 8"
    return page(b"595 0 0 842 0 0 cm /I Do", b"/XObject<</I 5 0 R>>", stream(bytes(100_000_000), shape, layers=2))


SLOW_PDFS: Mapping[str, Callable[[], bytes]] = {
    "shadings": shadings,
    "annotations": many_annotations,
    "form fields": form_fields,
    "tiling": tiling,
    "transparency": transparency,
}
GREEDY_PDFS: Mapping[str, Callable[[], bytes]] = {"flate": flate_bomb, "nested forms": nested_forms}
DAMAGED_PDFS: Mapping[str, Callable[[], bytes]] = {"deep tree": deep_tree, "lying count": lying_count}


def honest_pdf(pages: int = 1) -> bytes:
    """Text on white, as a till's PDF has it."""
    leaves = [b"<</Type/Page/Parent 2 0 R%s/Resources<</Font<</F 3 0 R>>>>/Contents 4 0 R>>" % A4] * pages
    kids = b"".join(b"%d 0 R " % (5 + n) for n in range(pages))
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    words = b"".join(b"BT /F 12 Tf 60 %d Td (Article number %d   12.50) Tj ET\n" % (800 - 20 * n, n) for n in range(38))
    return pdf([CATALOGUE[0], b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, pages), font, stream(words), *leaves])


# Pictures


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


PNG_MODES = {
    "1": (1, 0),
    "L": (8, 0),
    "I;16": (16, 0),
    "RGB": (8, 2),
    "RGB;16": (16, 2),
    "P": (8, 3),
    "LA": (8, 4),
    "RGBA": (8, 6),
}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def black_png(mode: str, width: int, height: int, *, interlaced: bool = False) -> bytes:
    """A black picture, written row by row: no picture of that size is ever in memory here."""
    depth, colour = PNG_MODES[mode]
    packer = zlib.compressobj(1)
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    body = []
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        row = bytes(1 + (columns * _CHANNELS[colour] * depth + 7) // 8)
        body += [packer.compress(row * 50) for _ in range(rows // 50)] + [packer.compress(row * (rows % 50))]
    body.append(packer.flush())
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced)))
    palette = chunk(b"PLTE", bytes(768)) if mode == "P" else b""
    return b"\x89PNG\r\n\x1a\n" + head + palette + chunk(b"IDAT", b"".join(body)) + chunk(b"IEND")


def png_of_chunks(count: int = 500_000) -> bytes:
    data = encoded(Image.new("L", (8, 8)), "PNG")
    return data[:33] + chunk(b"prVt") * count + data[33:]


def jpeg_of_comments(count: int = 1_000_000) -> bytes:
    data = encoded(Image.new("L", (8, 8)), "JPEG")
    return data[:2] + b"\xff\xfe\x00\x02" * count + data[2:]


def jpeg_of_scans(scans: int, side: int = 3000) -> bytes:
    """Each scan goes over the whole picture and takes 30 to 80 bytes."""
    whole = encoded(Image.new("RGB", (side, side), (120, 130, 140)), "JPEG", progressive=True, subsampling=0)
    table = whole.rfind(b"\xff\xc4", 0, whole.rfind(b"\xff\xda"))  # the last scan with its table
    return whole[:-2] + whole[table:-2] * scans + b"\xff\xd9"


def gif_of_comment(kilobytes: int = 5000) -> bytes:
    """A comment in blocks of 255 bytes, which a decoder that joins them one by one copies each time."""
    data = encoded(Image.new("P", (8, 8)), "GIF")
    at = 13 + 3 * (2 << (data[10] & 7))
    return data[:at] + b"\x21\xfe" + (b"\xff" + b"x" * 255) * (kilobytes * 4) + b"\0" + data[at:]


def bmp_of_runs(megabytes: int = 12) -> bytes:
    body = b"\x01\x00" * (megabytes * 500_000)
    head = struct.pack("<IiiHHIIiiII", 40, 5000, 5000, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + head + bytes(1024) + body


def shared_directory(entries: int = 2000, size: int = 500_000) -> bytes:
    """A TIFF directory, or an EXIF, of many entries that all refer to the same bytes."""
    usual = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1)]
    usual += [(278, 3, 1, 8), (279, 4, 1, 64)]
    place = 10 + 12 * (entries + len(usual)) + 4
    rows = usual + [(41_000 + n, 7, size, place) for n in range(entries)]
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHII", *r) for r in rows) + bytes(4 + size)


def jpeg_with_exif(exif: bytes) -> bytes:
    """As many segments as it takes; Pillow joins them."""
    data = encoded(Image.new("L", (80, 80)), "JPEG")
    parts = [exif[at : at + 65_000] for at in range(0, len(exif), 65_000)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts)
    return data[:2] + segments + data[2:]


def tiff_of_strips(height: int = 1_000_000) -> bytes:
    """One pixel wide, a strip for each row."""
    rows = [(256, 4, 1, 1), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, height, 200)]
    rows += [(277, 3, 1, 1), (278, 4, 1, 1), (279, 4, height, 200)]
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHII", *r) for r in rows) + bytes(4)
    return head + bytes(200 - len(head)) + struct.pack("<I", 0) * height


def tiff_with_huge_tile() -> bytes:
    """An honest size, and a tile of 60,000 × 60,000 pixels."""
    tile = zlib.compress(bytes(100_000))
    rows = [(256, 3, 1, 64), (257, 3, 1, 64), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    rows += [(322, 4, 1, 60_000), (323, 4, 1, 60_000), (324, 4, 1, 200), (325, 4, 1, len(tile))]
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHII", *r) for r in rows) + bytes(4)
    return head + bytes(200 - len(head)) + tile


BUSY_PICTURES: Mapping[str, Callable[[], bytes]] = {  # take long, or much memory, for what they show
    "PNG of chunks": png_of_chunks, "JPEG of comments": jpeg_of_comments, "JPEG of scans": lambda: jpeg_of_scans(3000),
    "GIF of comment": gif_of_comment, "BMP of runs": bmp_of_runs, "TIFF directory": shared_directory,
    "TIFF of strips": tiff_of_strips,
}  # fmt: skip
