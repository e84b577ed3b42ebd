"""Each bad request: its status, its code, and one body that says what to do and repeats nothing that was sent."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from api.app import create_app
from hunyuanocr.config import ImageSettings, Settings
from hunyuanocr.errors import BackendFailed
from hunyuanocr.pipeline import Pipeline
from tests.api.conftest import Make, served, wait_ready
from tests.attacks.hostile import CATALOGUE, pdf
from tests.support.app_client import AppClient
from tests.support.fake_backend import FakeBackend, picture
from tests.test_images import bomb_png

IMAGE = picture()
B64 = base64.b64encode(IMAGE).decode()
NOISE = Image.effect_noise((200, 200), 80).convert("RGB")


def jpeg() -> bytes:
    out = io.BytesIO()
    NOISE.save(out, "JPEG")
    return out.getvalue()


def rc4(key: bytes, data: bytes) -> bytes:
    s, j, out = list(range(256)), 0, bytearray()
    for i in range(256):
        j = (j + s[i] + key[i % len(key)]) % 256
        s[i], s[j] = s[j], s[i]
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + s[i]) % 256
        s[i], s[j] = s[j], s[i]
        out.append(byte ^ s[(s[i] + s[j]) % 256])
    return bytes(out)


def locked_pdf(password: bytes) -> bytes:
    """Standard security handler, revision 2 (ISO 32000-1, 7.6.3): 40-bit RC4, user and owner password alike."""
    pad = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
    padded, file_id, rights = (password + pad)[:32], b"0123456789abcdef", -4
    owner = rc4(hashlib.md5(padded).digest()[:5], padded)
    key = hashlib.md5(padded + owner + rights.to_bytes(4, "little", signed=True) + file_id).digest()[:5]
    lock = b"<</Filter/Standard/V 1/R 2/P %d/O<%s>/U<%s>>>" % (rights, owner.hex().encode(), rc4(key, pad).hex().encode())
    leaf = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>"
    return pdf([*CATALOGUE, leaf, lock], b"/Encrypt 4 0 R/ID[<%s><%s>]" % (file_id.hex().encode(), file_id.hex().encode()))


def long_pdf() -> bytes:
    out, leaf = io.BytesIO(), Image.new("1", (8, 8))
    leaf.save(out, "PDF", save_all=True, append_images=[leaf] * 499)
    return out.getvalue()


def as_file(data: bytes, **form: str) -> dict[str, object]:
    return {"files": {"file": ("photo.jpg", data, "image/jpeg")}, "data": form}


def as_json(**body: object) -> dict[str, object]:
    return {"json": body}


def nested(depth: int) -> dict[str, object]:
    schema: dict[str, object] = {"type": "object", "properties": {"a": {"type": "string"}}}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def raw(content: bytes, kind: str) -> dict[str, object]:
    return {"content": content, "headers": {"content-type": kind}}


PICTURES = [
    ("empty body", {"content": b""}, 400, "empty_input"),
    ("empty JSON body", raw(b"", "application/json"), 400, "empty_input"),
    ("empty file", as_file(b""), 400, "empty_input"),
    ("text named .jpg", as_file(b"hello, I am no picture " * 9), 415, "unsupported_media_type"),
    ("truncated JPEG", as_file(jpeg()[: len(jpeg()) // 2]), 400, "unreadable_image"),
    ("PNG bomb", as_file(bomb_png(30_000, 30_000)), 413, "image_too_large"),
    ("PNG bomb as base64", as_json(image=base64.b64encode(bomb_png(30_000, 30_000)).decode()), 413, "image_too_large"),
    ("broken base64", as_json(image=B64[:40] + "!" + B64[40:]), 400, "invalid_base64"),
    ("base64 one letter short", as_json(image=B64.rstrip("=")[: len(B64) // 4 * 4 - 3]), 400, "invalid_base64"),
    ("data URI that is not base64", as_json(image="data:image/png,rawbytes"), 400, "invalid_base64"),
    ("picture that is a number", as_json(image=7), 400, "invalid_base64"),
    ("base64 of text", as_json(image=base64.b64encode(b"hello, hello").decode()), 415, "unsupported_media_type"),
    ("empty base64", as_json(image=""), 400, "empty_input"),
    ("no picture in JSON", as_json(instruction="提取总金额"), 400, "empty_input"),
    ("no picture in the form", {"files": {"other": (None, "x")}}, 400, "empty_input"),
    ("file under another name", {"files": {"upload": IMAGE}}, 400, "empty_input"),
    ("PDF with password", as_file(locked_pdf(b"secret")), 400, "pdf_password"),
    ("PDF of 500 pages", as_file(long_pdf()), 413, "too_many_pages"),
    ("two files", {"files": [("file", IMAGE), ("file", IMAGE)]}, 400, "one_file_only"),
    ("two files under two names", {"files": [("file", IMAGE), ("image", IMAGE)]}, 400, "one_file_only"),
    ("two pictures in JSON", as_json(image=B64, file=B64), 400, "one_file_only"),
]
FORMS = [
    ("wrong content type", raw(IMAGE, "image/png"), 415, "unsupported_media_type"),
    ("URL-encoded form", {"data": {"image": B64}}, 415, "unsupported_media_type"),
    ("no content type", {"content": IMAGE}, 415, "unsupported_media_type"),
    ("JSON that is none", raw(b'{"image": ', "application/json"), 400, "bad_request"),
    ("JSON that is a list", {"json": [1]}, 400, "bad_request"),
    ("JSON nested too deep", raw(b"[" * 200_000, "application/json"), 400, "bad_request"),
    ("JSON with NaN", raw(b'{"image": NaN}', "application/json"), 400, "bad_request"),
    ("JSON in Latin-1", raw('{"prompt": "ü"}'.encode("latin-1"), "application/json"), 400, "bad_request"),
    ("multipart without boundary", raw(b"--x\r\n", "multipart/form-data"), 400, "bad_request"),
    ("multipart that is none", raw(b"hello", "multipart/form-data; boundary=x"), 400, "bad_request"),
    ("unknown task", as_file(IMAGE, task="sing"), 422, "unknown_task"),
    ("task that this reader cannot do", as_file(IMAGE, task="translate", language="en"), 422, "task_not_supported"),
    ("the same in words", as_file(IMAGE, instruction="translate this menu into English"), 422, "task_not_supported"),
    ("schema that is no JSON", as_file(IMAGE, schema="{"), 422, "invalid_value"),
    ("schema that is a list", as_json(image=B64, schema=[1]), 422, "invalid_value"),
    ("schema that is no schema", as_json(image=B64, schema={"type": "no such type"}), 422, "invalid_schema"),
    ("schema of a number", as_json(image=B64, schema={"type": "number"}), 422, "invalid_schema"),
    ("schema nested deep", as_json(image=B64, schema=nested(44)), 422, "invalid_value"),
    ("body nested deeper than any is parsed", as_json(image=B64, schema=nested(200)), 400, "bad_request"),
    ("schema as long as a book", as_json(image=B64, schema={"type": "object", "title": "x" * 60_000}), 422, "invalid_value"),
    ("schema with a pattern that looks around", as_json(image=B64, schema={"type": "object", "properties": {
        "a": {"type": "string", "pattern": "(?=a)b"}}}), 422, "invalid_schema"),
    ("schema that refers to itself", as_json(image=B64, schema={"$ref": "#"}), 422, "invalid_schema"),
    ("schema that refers elsewhere", as_json(image=B64, schema={"type": "object", "properties": {
        "a": {"$ref": "http://127.0.0.1:9/a.json"}}}), 422, "invalid_schema"),
    ("schema whose field refers in a circle", as_json(image=B64, schema={"type": "object", "properties": {
        "a": {"$ref": "#/properties/b"}, "b": {"$ref": "#/properties/a"}}}), 422, "invalid_schema"),
    ("schema that unfolds to billions", as_json(image=B64, schema={"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}},
        "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {}}}), 422,
     "invalid_schema"),
    ("unknown evidence", as_file(IMAGE, evidence="sworn"), 422, "invalid_value"),
    ("unknown language", as_file(IMAGE, task="translate", language="klingon"), 422, "invalid_value"),
    ("unknown response", as_file(IMAGE, response="poem"), 422, "invalid_value"),
    ("instruction that is a number", as_json(image=B64, instruction=7), 422, "invalid_value"),
    ("instruction of a book's length", as_file(IMAGE, instruction="a" * 5000), 422, "invalid_value"),
    ("field with half a character", raw(b'{"image": "%s", "fields": ["\\ud800"]}' % B64.encode(), "application/json"), 422,
     "invalid_value"),
    ("too many fields", as_json(image=B64, fields=[str(n) for n in range(200)]), 422, "invalid_value"),
]  # fmt: skip


@pytest.mark.parametrize(("kwargs", "status", "code"), [c[1:] for c in PICTURES + FORMS], ids=[c[0] for c in PICTURES + FORMS])
async def test_bad_requests(client: AppClient, kwargs: Any, status: Any, code: Any) -> None:
    r = await client.post("/v1/ocr", **kwargs)
    assert (r.status_code, r.json()["code"]) == (status, code), r.text
    check_body(r)


def check_body(r: httpx.Response) -> None:
    body = r.json()
    assert set(body) - {"errors"} == {"detail", "code", "hint", "request_id"}
    assert all(body[k] for k in ("detail", "code", "hint", "request_id"))
    assert body["request_id"] == r.headers["x-request-id"]
    assert "Traceback" not in r.text
    assert B64[:30] not in r.text
    for mistake in body.get("errors", []):
        assert set(mistake) == {"loc", "msg", "type"}


async def test_one_pixel_is_a_picture(client: AppClient) -> None:
    r = await client.post("/ocr", files={"file": picture(size=(1, 1))})
    assert (r.status_code, r.json()["width"], r.json()["height"]) == (200, 1, 1)


async def test_a_validation_error_names_the_location_without_the_value(client: AppClient) -> None:
    r = await client.post("/ocr", json={"image": B64, "fields": {"secret-word": 1}, "response": "secret-word"})
    assert r.status_code == 422
    assert {tuple(e["loc"]) for e in r.json()["errors"]} == {("fields",), ("response",)}
    assert "secret-word" not in r.text


@pytest.mark.parametrize(("method", "path", "status", "code"), [
    ("GET", "/no/such", 404, "not_found"), ("GET", "/ocr", 405, "method_not_allowed"),
    ("PUT", "/v1/ocr", 405, "method_not_allowed"),
    ("POST", "/health", 405, "method_not_allowed"),
])  # fmt: skip
async def test_unknown_paths_have_the_error_body(client: AppClient, method: str, path: str, status: int, code: str) -> None:
    r = await client.request(method, path)
    assert (r.status_code, r.json()["code"]) == (status, code)
    check_body(r)


async def test_a_failed_backend_is_a_500_without_internals(
    client: AppClient, reader: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    def fault() -> Exception:
        return RuntimeError("password=hunter2 in /srv/secret")

    reader.fault = fault
    r = await client.post("/ocr", files={"file": IMAGE}, headers={"X-Request-Id": "the-bad-one"})
    assert (r.status_code, r.json()["code"]) == (500, "reader_failed")
    assert "hunter2" not in r.text
    check_body(r)
    assert "the-bad-one" in caplog.text
    assert "hunter2" in caplog.text  # the log has the whole story


async def test_an_unexpected_exception_is_a_500(
    reader: FakeBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, make_client: Make
) -> None:
    client = await make_client()
    app = client.app

    async def broken(request: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(app.state.pipeline, "run", broken)
    r = await client.post("/ocr", files={"file": IMAGE})
    assert (r.status_code, r.json()["code"]) == (500, "internal_error")
    assert "secret" not in r.text
    check_body(r)
    assert "ZeroDivisionError" in caplog.text


async def test_an_open_circuit_breaker_is_a_503_with_retry_after(make_client: Make, reader: FakeBackend) -> None:
    client = await make_client(breaker_failures=1, breaker_reset_s=30)
    reader.fault = lambda: BackendFailed("broken")
    assert (await client.post("/ocr", files={"file": IMAGE})).status_code == 500
    r = await client.post("/ocr", files={"file": IMAGE})
    assert (r.status_code, r.json()["code"]) == (503, "reader_unavailable")
    assert 1 < int(r.headers["retry-after"]) <= 30
    assert (await client.get("/ready")).status_code == 503
    assert (await client.get("/health")).status_code == 200


async def test_a_deadline_is_a_504_and_the_work_is_cancelled(make_client: Make, reader: FakeBackend) -> None:
    client = await make_client(deadline_s=2)
    reader.seconds = 60
    r = await client.post("/ocr", files={"file": IMAGE})
    assert (r.status_code, r.json()["code"]) == (504, "deadline_exceeded")
    assert reader.cancelled == 1


@pytest.mark.parametrize("form", ["multipart", "json"])
def test_a_60_mb_upload_is_rejected_and_not_buffered(form: str) -> None:
    """Over a real socket: the client hears the 413 although it sends everything first, and the server does not grow by it."""
    import psutil

    settings = Settings(images=ImageSettings(max_bytes=4_000_000))
    big = b"\xff\xd8\xff" + bytes(60_000_000)
    with served(create_app(settings, Pipeline(FakeBackend(), settings))) as base:
        wait_ready(base)
        if form == "multipart":
            head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
            content, kind = head + big + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"
        else:
            content, kind = b'{"image": "' + b"A" * 60_000_000 + b'"}', "application/json"
        del big
        before = psutil.Process().memory_info().rss
        r = httpx.post(f"{base}/ocr", content=pieces(content), headers={"content-type": kind}, timeout=60)
        grown = psutil.Process().memory_info().rss - before
    assert (r.status_code, r.json()["code"]) == (413, "image_too_large")
    assert grown < 25_000_000


def pieces(content: bytes) -> Iterator[bytes]:
    """64 KB at a time, so that the sending side holds nothing either."""
    view = memoryview(content)
    for i in range(0, len(content), 65536):
        yield bytes(view[i : i + 65536])


async def test_a_file_over_the_limit_within_a_body_under_it(client: AppClient) -> None:
    r = await client.post("/ocr", files={"file": b"\xff\xd8\xff" + bytes(2_500_000)})
    assert (r.status_code, r.json()["code"]) == (413, "image_too_large")
    r = await client.post("/ocr", json={"image": base64.b64encode(b"\xff\xd8\xff" + bytes(2_500_000)).decode()})
    assert (r.status_code, r.json()["code"]) == (413, "image_too_large")


async def test_errors_are_json_that_any_client_can_read(client: AppClient) -> None:
    r = await client.post("/ocr", json={"image": B64, "task": "sing 唱"})
    assert r.headers["content-type"] == "application/json"
    assert json.loads(r.content)["code"] == "unknown_task"
