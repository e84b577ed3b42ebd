"""Hostile values: what an attacker puts where the appliance expects a word, a number, an object or a file."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
from typing import Any

from PIL import Image

from hunyuanocr.loadtest.receipts import draw_text
from tests.attacks import hostile

FOREIGN_PATHS = ("/dev/zero", "/etc/passwd", "/proc/self/environ")  # no request has a reason to open them


def strings(canary: str, listener: str) -> list[str]:
    """Return hostile strings. `canary` is the path of a file that nobody may open, `listener` a URL that nobody may contact."""
    paths = [*FOREIGN_PATHS, canary, f"../../../../..{canary}", f"..%2f..%2f..{canary}", f"file://{canary}", f"{canary}\0.png"]
    urls = [
        listener,
        f"{listener}/a.png",
        listener.replace("http://", "http://user@"),
        "http://192.0.2.1/latest",
        "//192.0.2.1/a",
    ]
    patterns = ["(a+)+$", "a{0,15}" * 30 + "b", "(?:a|a?)" * 30, "\\p{L}{1,1000}" * 9, "(?=a)*", "["]
    words = [
        "",
        " ",
        "\0",
        "a\0b",
        "\r\nSet-Cookie: a=b",
        "' OR 1=1 --",
        "<script>alert(1)</script>",
        "{{7*7}}${7*7}",
        "%s%n%x%00",
        "\u202e\u0000\ufeff",
        "\ud800",
        "𝕏" * 300,
        "字" * 5000,
        " " * 5000,
        "1," * 2500,
        "：" * 4000,
        "a" * 100_000,
        "NaN",
        "-1",
        "0x10",
        "9" * 5000,
        "1e999",
        "2026-13-45T99:99:99Z",
        "__proto__",
        "null",
        "[]",
        '{"a":' * 500,
    ]
    return [*paths, *urls, *patterns, *words]


def numbers() -> list[Any]:
    """Return numbers at and beyond the limits of common types."""
    return [-1, 0, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, -0.0, 0.1, True, None]


def file_references(canary: str, listener: str) -> list[Any]:
    """Return objects that a framework may take for a file or a URL to open (Gradio's FileData among them)."""
    meta = {"_type": "gradio.FileData"}
    found: list[Any] = [{"path": path, "meta": meta} for path in (*FOREIGN_PATHS, canary, listener)]
    found.append(
        {"path": canary, "url": listener, "orig_name": "a.png", "mime_type": "image/png", "is_stream": True, "meta": meta}
    )
    found.append([{"image": {"path": canary, "meta": meta}}, [{"file": {"path": canary, "meta": meta}}]])
    return found


def schemas(canary: str, listener: str) -> list[Any]:
    """Return JSON Schemas that cost time or memory, or that refer to something outside."""
    field = {"type": "string"}
    found: list[Any] = [
        {"type": "object", "properties": {"a": field | {"pattern": p}}} for p in ("a{0,15}" * 30 + "b", "(a+)+$", "[")
    ]
    found += [
        {"type": "object", "properties": {"a": {"$ref": ref}}} for ref in (f"file://{canary}", listener, "#", "#/properties/a")
    ]
    chain: dict[str, Any] = {
        f"d{n}": {"properties": {"x": {"$ref": f"#/$defs/d{n + 1}"}, "y": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(30)
    }
    found.append({"type": "object", "$defs": {**chain, "d30": field}, "properties": {"a": {"$ref": "#/$defs/d0"}}})
    found.append({"type": "object", "properties": {"a": {"type": "array", "minItems": 10**9, "items": field}}})
    found.append({"type": "object", "properties": {"a": {"type": "string", "minLength": 10**12, "maxLength": 10**400}}})
    found.append({"type": "object", "properties": {"a": {"type": "number", "multipleOf": 1e-308}}})
    found.append({"type": "object", "properties": {"a": {"enum": list(range(5000))}}})
    found.append({"type": "object", "patternProperties": {"(x+x+)+y": field}})
    found.append({"allOf": [{"anyOf": [field] * 30}] * 30, "type": "object"})
    return found


def structures() -> list[Any]:
    """Return values of the wrong shape."""
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    return [deep, [[]] * 2000, {str(n): n for n in range(2000)}, [None] * 2000, {"a": {"b": {"c": []}}}, [], {}, {"": ""}]


def bodies(*, large: bool) -> list[bytes]:
    """Return whole request bodies that are no honest JSON. `large` adds those of megabytes."""
    found = [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"a"',
        b"NaN",
        b'{"a":NaN}',
        b"\xff\xfe",
        b"\0" * 100,
        b'{"a":"\\ud800"}',
        b"{}" * 50,
        b"[" * 20_000,
        b'{"a":' * 20_000,
        b'{"image":"' + b"A" * 50_000,
        b'{"n":' + b"9" * 5000 + b"}",
        '{"图":"片"}'.encode("utf-16"),
    ]
    megabytes = [b"[" + b"[]," * 2_000_000 + b"[]]", b'{"image":"aaaa","z":[' + b"[]," * 3_000_000 + b"[]]}", b"9" * 3_000_000]
    return found + (megabytes if large else [])


def files() -> dict[str, bytes]:
    """Return small files that are damaged, lie about their size, or unfold to much."""
    honest = hostile.encoded(Image.new("RGB", (64, 48), "white"), "PNG")
    return {
        "empty": b"",
        "nul": b"\0" * 1000,
        "text": b"just words",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "cut png": honest[:60],
        "huge png": hostile.black_png("1", 60_000, 60_000),
        "bomb png": hostile.black_png("1", 9000, 9000),
        "png of chunks": hostile.png_of_chunks(20_000),
        "crc": honest[:-8] + b"\0" * 8,
        "gif": b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0,",
        "jpeg": b"\xff\xd8\xff\xe1\xff\xff" + b"Exif\0\0" + b"\xff" * 500,
        "bmp": b"BM" + b"\xff" * 60,
        "tiff": b"II*\0\xff\xff\xff\x7f",
        "tiff circle": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
        "heic": b"\0\0\0\x18ftypheic" + b"\xff" * 200,
        "webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        "pdf": b"%PDF-1.7\n" + b"<<" * 5000,
        "shading pdf": hostile.shadings(),
        "bomb pdf": hostile.flate_bomb(megabytes=64),
        "nested pdf": hostile.nested_forms(),
        "lying pdf": hostile.lying_count(),
        "zip": _zip_bomb(),
        "1-wide": hostile.encoded(Image.new("L", (1, 20_000)), "PNG"),
        "wide": hostile.encoded(Image.new("1", (20_000, 1)), "PNG"),
    }


def tiny_picture() -> bytes:
    """Return an honest PNG with one short line of print."""
    return draw_text(["TOTAL 3.20"], font_size=10, width=120, margin=12)


def as_json(value: Any) -> bytes:
    """Encode as JSON in ASCII, so that lone surrogates pass as escapes."""
    return json.dumps(value).encode()


def as_base64(data: bytes) -> str:
    """Encode a file as clients do in JSON."""
    return base64.b64encode(data).decode()


def _zip_bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(20):
            archive.writestr(f"../../{n}.png", b"\0" * 5_000_000)
    return out.getvalue()
