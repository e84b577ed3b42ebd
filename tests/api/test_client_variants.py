"""Requests as the HTTP libraries of existing clients send them: each is read as it was meant, or refused by its right name."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
import zlib
from typing import Any

import httpx
import pytest

from api.base64_images import decode_base64
from api.multipart import read_parts
from hunyuanocr.errors import EmptyInput, InvalidBase64, RemoteImageRefused
from tests.support.fake_backend import picture

IMAGE = picture(9, 8, 7)
B64 = base64.b64encode(IMAGE).decode()
FORM = {"content-type": "multipart/form-data; boundary=x"}
JSON = {"content-type": "application/json"}
INTERNALS = re.compile(r"function|instance of|list\[|dict\[|\(\)|pydantic|_[a-z]+_\b|[a-z][A-Z]|Value error")


def part(headers: str, data: bytes) -> bytes:
    return b"--x\r\n" + headers.encode() + b"\r\n\r\n" + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--x--\r\n"


def named(name: str, data: bytes | str, more: str = "", kind: str = "") -> bytes:
    encoded = data.encode() if isinstance(data, str) else data
    return part(f'Content-Disposition: form-data; name="{name}"{more}' + (f"\r\nContent-Type: {kind}" if kind else ""), encoded)


def unknown_keys(answer: httpx.Response) -> list[str]:
    return [warning["message"] for warning in answer.json()["warnings"] if warning["code"] == "unknown_key"]


async def send(client: httpx.AsyncClient, content: bytes, headers: dict[str, str] = FORM, path: str = "/ocr") -> httpx.Response:
    return await client.post(path, content=content, headers=headers)


@pytest.mark.parametrize("file", [
    named("file", IMAGE),
    part("Content-Disposition: form-data; name=file", IMAGE),
    named("image", IMAGE, kind="image/png"),
    named("file", IMAGE, kind="application/octet-stream"),
    named("file", IMAGE, kind="text/plain; charset=utf-8"),
    named("file", IMAGE, "; filename*=utf-8''%E5%B0%8F%E7%A5%A8.png"),
    named("file", IMAGE, "; filename*=no-such-charset''a.png"),
    named("file", IMAGE, '; filename=""'),
    named("file", B64),
    named("file", B64, kind="text/plain"),
    named("file", "DATA:image/PNG;BASE64," + B64),
    part("Content-Disposition: form-data; name=file; filename=a.png\r\nContent-Transfer-Encoding: base64",
         base64.encodebytes(IMAGE)),
    part("Content-Disposition: form-data; name=file; filename=a.png\r\nContent-Transfer-Encoding: BINARY", IMAGE),
])  # fmt: skip
async def test_an_image_is_recognised_in_every_form_of_its_part(client: Any, file: Any) -> None:
    answer = await send(client, form(file, named("response", "full")))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["width"], unknown_keys(answer)) == (40, [])


async def test_a_parameter_is_text_also_with_a_file_name(client: Any) -> None:
    schema = json.dumps({"type": "object", "properties": {"total": {"type": ["string", "null"]}}})
    body = form(
        named("file", IMAGE), named("schema", schema, '; filename="blob"', "application/json"), named("response", "fields")
    )
    answer = await send(client, body)
    assert (answer.status_code, answer.json()) == (200, {"total": None})


@pytest.mark.parametrize(("text", "kind", "more"), [
    ("提取日期".encode("gbk"), "text/plain; charset=GBK", ()),
    ("提取日期".encode("gb2312"), 'text/plain; charset="gb2312"', ()),
    ("提取日期".encode("utf-16"), "text/plain; charset=UTF-16", ()),
    ("提取日期".encode("gb18030"), "", (named("_charset_", "gb18030"),)),
    ("提取日期".encode(), "text/plain; charset=x-unknown", ()),
    ("提取日期".encode(), "text/plain; charset=us-ascii", ()),
])  # fmt: skip
async def test_the_declared_charset_of_a_part_is_used(client: Any, text: Any, kind: Any, more: Any) -> None:
    answer = await send(client, form(*more, named("file", IMAGE), named("instruction", text, kind=kind)))
    assert (answer.status_code, list(answer.json()["fields"])) == (200, ["date"]), answer.text


async def test_a_wrong_charset_is_named(client: Any) -> None:
    gbk = "提取总金额".encode("gbk")
    for kind, words in (("", "UTF-8"), ("text/plain; charset=shift_jis", "shift_jis"), ("text/plain; charset=idna", "idna")):
        answer = await send(client, form(named("file", IMAGE), named("instruction", gbk + b"\xff", kind=kind)))
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
        assert words in answer.json()["detail"]
        assert "'instruction'" in answer.json()["detail"]
    answer = await send(client, form(named("file", IMAGE), named("shop", gbk)))  # a field that is ignored may be anything
    assert answer.status_code == 200


async def test_the_declared_charset_of_a_json_body_is_used(client: Any) -> None:
    body = json.dumps({"image": B64, "instruction": "提取日期"}, ensure_ascii=False)
    for charset in ("gbk", "UTF-16", "utf-8", "latin-1"):
        answer = await send(client, body.encode("utf-8" if charset == "latin-1" else charset), {
            "content-type": f"application/json; charset={charset}"
        })  # fmt: skip
        assert (answer.status_code, list(answer.json()["fields"])) == (200, ["date"]), charset
    latin = json.dumps({"image": B64, "fields": ["menü"]}, ensure_ascii=False).encode("latin-1")
    answer = await send(client, latin, {"content-type": "application/json; charset=ISO-8859-1"})
    assert list(answer.json()["fields"]) == ["menü"]


async def test_text_around_the_parts_is_skipped(client: Any) -> None:
    body = form(named("file", IMAGE))
    for before in (b"This is a message in MIME format.\r\n", b"\r\n", b"--y\r\nno boundary\r\n", b"-" * 70_000 + b"\r\n"):
        assert (await send(client, before + body + b"epilogue")).status_code == 200, before[:20]
    for broken in (b"preamble" + body[:2], b"no line break " + body.replace(b"\r\n--x--", b"")):
        assert (await send(client, broken)).json()["code"] == "bad_request"
    assert (await send(client, b"")).json()["code"] == "empty_input"


async def test_a_preamble_in_pieces_of_any_size_is_skipped() -> Any:
    body = b"text --x text\r\n--x" + form(named("file", b"data"))[3:]
    for size in range(1, len(body)):

        async def pieces(size: Any = size) -> Any:
            for at in range(0, len(body), size):
                yield body[at : at + size]

        assert [bytes(each.data) for each in await read_parts(FORM["content-type"], pieces())] == [b"data"]


async def test_names_of_files_are_decoded() -> Any:
    async def body(disposition: str) -> Any:
        yield form(part(f"Content-Disposition: form-data; name=file; {disposition}", b"data"))

    for disposition, name in (
        ("filename=a.jpg", "a.jpg"),
        ("filename=x.jpg; filename*=utf-8''%E5%B0%8F%E7%A5%A8.jpg", "小票.jpg"),
        ("filename*=GBK''%D0%A1%C6%B1.jpg", "小票.jpg"),
        ('filename="=?utf-8?B?5bCP56WoLmpwZw==?="', "小票.jpg"),
        ('filename="=?utf-8?B?!?="', "=?utf-8?B?!?="),
        ("filename*=broken", ""),
    ):
        (found,) = await read_parts(FORM["content-type"], body(disposition))
        assert found.filename == name


async def test_an_unknown_transfer_encoding_is_named(client: Any) -> None:
    file = part("Content-Disposition: form-data; name=file; filename=a.png\r\nContent-Transfer-Encoding: x-uuencode", IMAGE)
    answer = await send(client, form(file))
    assert answer.json()["code"] == "bad_request"
    assert "x-uuencode" in answer.json()["detail"]


async def test_an_image_under_an_unknown_name_is_not_called_text(client: Any) -> None:
    answer = await send(client, form(named("photo", IMAGE)))
    assert (answer.json()["code"], "'photo'" in answer.json()["detail"]) == ("empty_input", True)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, lambda data: zlib.compress(data)[2:-4]])
@pytest.mark.parametrize("path", ["/ocr", "/v1/chat/completions"])
async def test_a_compressed_body_is_unpacked(client: Any, pack: Any, path: Any) -> None:
    packed = pack(json.dumps({"image": B64, "messages": [{"role": "user", "content": "hello"}]}).encode())
    coding = "gzip" if packed[:2] == b"\x1f\x8b" else "deflate"
    answer = await send(client, packed, JSON | {"content-encoding": coding}, path)
    assert answer.status_code == 200, answer.text
    members = (
        gzip.compress(b"", mtime=0)
        + gzip.compress(form(named("file", IMAGE))[:40])
        + gzip.compress(form(named("file", IMAGE))[40:])
    )
    assert (await send(client, members, FORM | {"content-encoding": "GZIP"})).status_code == 200


@pytest.mark.parametrize(("body", "coding", "status", "words"), [
    (b"data", "br", 415, "'br'"),
    (gzip.compress(b"data", mtime=0), "gzip, gzip", 415, "'gzip, gzip'"),
    (b"data", "gzip", 400, "not valid gzip"),
    (gzip.compress(B64.encode())[:-9], "gzip", 400, "incomplete"),
    (gzip.compress(b'{"image": "' + b"A" * 60_000_000 + b'"}', 1, mtime=0), "gzip", 413, "bytes"),
    (zlib.compress(bytes(60_000_000)), "deflate", 413, "bytes"),
])  # fmt: skip
async def test_a_compressed_body_is_refused_by_its_fault(client: Any, body: Any, coding: Any, status: Any, words: Any) -> None:
    answer = await send(client, body, JSON | {"content-encoding": coding})
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert (await client.get("/health", headers={"content-encoding": coding})).status_code == 200


def test_base64_is_decoded_as_it_was_meant() -> None:
    source = random.Random(16)
    for _ in range(400):
        data = b"\xff\xd8\xff" + source.randbytes(source.randrange(200, 900))
        text, lines = base64.b64encode(data).decode(), base64.encodebytes(data).decode()
        for form in (
            text,
            text.replace("+", " "),
            lines,
            lines.replace("\n", " "),
            lines.replace("\n", "\n    "),
            lines.replace("+", " "),
            text.rstrip("="),
            base64.urlsafe_b64encode(data).decode(),
            text.replace("+", "%2B").replace("/", "%2f").replace("=", "%3D"),
            f"Data:image/JPEG;Base64, {text}\n",
            "data:image/jpeg;base64," + text.replace("+", " "),
        ):
            assert decode_base64(form) == data, form[:80]


@pytest.mark.parametrize(("text", "error"), [
    (B64[:40] + "!" + B64[40:], InvalidBase64), ("data:image/png,raw", InvalidBase64), ("a" * 5, InvalidBase64),
    ("https://shop.example/a.png", RemoteImageRefused), ("FILE:///etc/passwd", RemoteImageRefused),
    ("blob:http://a/1", RemoteImageRefused), ("", EmptyInput), (" \n ", EmptyInput), ("data:;base64,", EmptyInput),
])  # fmt: skip
def test_text_that_is_not_base64_is_refused_by_its_fault(text: Any, error: Any) -> None:
    with pytest.raises(error):
        decode_base64(text)


def test_damaged_base64_with_blanks_is_explained() -> None:
    with pytest.raises(InvalidBase64) as caught:
        decode_base64("/9j/4 AAQ*")
    assert "%2B" in caught.value.hint


@pytest.mark.parametrize("content", [
    {"type": "image_url", "image_url": f"data:image/png;base64,{B64}"},
    {"type": "image_url", "image_url": {"url": f"DATA:image/png;BASE64,{B64}"}},
    {"type": "image", "image": f"data:image/png;base64,{B64}"},
    {"type": "input_image", "image_url": B64},
    {"type": "file", "file": f"data:image/png;base64,{B64}"},
])  # fmt: skip
async def test_a_chat_image_may_be_text(client: Any, content: Any) -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "all text"}, content]}
    answer = await client.post("/v1/chat/completions", json={"messages": [message]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("body", [
    {}, {"messages": 5}, {"messages": [5]}, {"messages": [{"role": "user", "content": {"a": 1}}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": 5}]}]},
    {"messages": [{"role": "user", "content": [{"image_url": {"url": "x"}}]}]},
    {"messages": [{"role": "user", "content": [7, {"type": "text", "text": "\ud800"}]}]},
    {"messages": [{"role": "x"}], "response_format": 5, "stream": "maybe", "max_tokens": 0, "n": []},
    {"messages": [{"role": "user"}], "response_format": {"type": "json_schema", "json_schema": {"schema": [1]}}},
])  # fmt: skip
async def test_no_validation_message_names_internals(client: Any, body: Any) -> None:
    chat = await client.post("/v1/chat/completions", content=json.dumps(body), headers=JSON)
    assert chat.status_code == 422
    error = chat.json()["error"]
    assert not INTERNALS.search(error["message"].partition(" (request")[0]), error
    assert not INTERNALS.search(error["param"]), error
    wrong = {"fields": {"a": 1}, "schema": "{", "instruction": 5, "evidence": [], "device": {}, "stream": "x"}
    ocr = (await client.post("/ocr", json={"image": B64, **wrong})).json()
    assert {error["loc"][0] for error in ocr["errors"]} == set(wrong)
    assert not INTERNALS.search(json.dumps([ocr["detail"], [error["msg"] for error in ocr["errors"]]]))


async def test_an_infinite_number_in_a_schema_is_refused(client: Any) -> None:
    body = json.dumps({"image": B64, "schema": {"type": "object", "properties": {"a": {"enum": [5]}}}})
    answer = await send(client, body.replace("[5]", "[1e999]").encode(), JSON)
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["schema"])


KEYS = [
    ("Instruction", "instruction"), ("instrution", "instruction"), ("tasks", "task"), ("field", "fields"),
    ("Response", "response"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "name"), KEYS)
async def test_a_misspelled_key_is_reported_in_a_warning(client: Any, key: Any, name: Any) -> None:
    for answer in (
        await client.post("/ocr", json={"image": B64, key: "total"}),
        await client.post("/ocr", files={"file": IMAGE}, data={key: "total"}),
        await client.post("/v1/ocr", files={"file": IMAGE}, params={key: "total"}),
    ):
        assert answer.status_code == 200, answer.text
        (message,) = unknown_keys(answer)
        assert (f"'{key}'" in message, f"'{name}'" in message) == (True, True)


async def test_keys_of_other_services_are_ignored_silently(client: Any) -> None:
    others = dict.fromkeys((
        "model", "lang", "top_p", "image_url", "response_format", "image_type", "filename", "user", "timeout", "use_angle_cls",
        "n\0te", "x" * 5000, "型号",
    ), "1")  # fmt: skip
    for answer in (
        await send(client, json.dumps({"image": B64, "tas\ud800": 1, **others}).encode(), JSON),
        await client.post("/ocr", json={"file": B64, **others}, params={"t": "1700000000", "key": ""}),
        await client.post("/ocr", files={"file": IMAGE}, data={key: "1" for key in others if len(key) < 99}),
    ):
        assert (answer.status_code, unknown_keys(answer)) == (200, []), answer.text
    answer = await client.post("/ocr", json={"image": B64}, params={"instruction": "提取总金额"})
    assert (answer.json()["task"], len(unknown_keys(answer))) == ("read", 1)


async def test_a_misspelled_image_key_is_named(client: Any) -> None:
    answer = (await client.post("/ocr", json={"Image": B64})).json()
    assert (answer["code"], "'Image'" in answer["hint"], "'image'" in answer["hint"]) == ("empty_input", True, True)


@pytest.mark.parametrize("path", ["//ocr", "/ocr/", "/v1/ocr/", "/v1//ocr", "///v1/ocr//", "/%2Focr"])
async def test_needless_slashes_do_not_change_a_path(client: Any, path: Any) -> None:
    answer = await client.post(f"http://test{path}", files={"file": IMAGE})
    assert (answer.status_code, answer.json().get("text")) == (200, "#090807"), answer.text


async def test_slashes_make_no_other_path_of_the_api(client: Any) -> None:
    for path in ("/v1/", "/ocr/x", "/v1/ocr/x/", "/ocr.", "//"):
        assert (await client.post(f"http://test{path}", files={"file": IMAGE})).status_code in (404, 405), path
