"""Requests composed at random of what clients' libraries do: each is read as it was meant, or refused by its own fault."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support.fake_backend import picture

IMAGE = picture(9, 8, 7)
B64 = base64.b64encode(IMAGE).decode()
# Names of our program, of its libraries and of Python that no message may contain.
INTERNALS = re.compile(
    r"function-|instance of|\blist\[|\bdict\[|pydantic|starlette|Traceback|Value error|object at 0x|NoneType|\bself\b|Errno"
)
INSTRUCTIONS = (
    "提取总金额", "extract total", "請提取總金額", "Return JSON with keys total, date.", "😀", " ",
    "a" * 3000, "\u202etotal", "tótal?",
)  # fmt: skip
NAMES = (
    "",
    '; filename="a.png"',
    "; filename=a.png",
    "; filename*=utf-8''%E5%B0%8F.png",
    '; filename="小票.png"',
    '; filename=""',
)
SAMPLE, ALL = 400, 10_000


@dataclass
class Composed:
    """A request. `faults`: codes of which one must be in the answer; empty: the image must be read."""

    path: str = "/ocr"
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    params: dict[str, str] = field(default_factory=dict)
    faults: set[str] = field(default_factory=set)
    words: list[str] = field(default_factory=list)  # what was done, for the message of a failed test


def compose(rng: random.Random) -> Composed:
    """Return a random request."""
    made = Composed(path=rng.choice(("/ocr", "/v1/ocr", "/ocr/", "//ocr", "/v1//ocr")))
    values = _parameters(rng, made)
    if rng.random() < 0.5:
        _json(rng, made, values)
    else:
        _form(rng, made, values)
    if rng.random() < 0.15:
        _compressed(rng, made)
    if rng.random() < 0.2:
        made.params[rng.choice(("t", "Instruction", "key", "v"))] = "1700000000"
    return made


def _parameters(rng: random.Random, made: Composed) -> dict[str, Any]:
    """Return parameters of the request, some of them wrong."""
    values: dict[str, Any] = {}
    if rng.random() < 0.5:
        values[rng.choice(("instruction", "prompt"))] = rng.choice(INSTRUCTIONS)
    if rng.random() < 0.3:
        values["fields"] = rng.choice(("total,date", "金额，日期", ["total", "date"], ["Ünknown"], "  ", []))
    if rng.random() < 0.2:
        values[rng.choice(("Instruction", "instrution", "TASK", "model", "型号", "lang", "x" * 300))] = rng.choice(
            ("1", "总", "")
        )
    for share, key, wrong in ((0.1, "task", "reed"), (0.1, "schema", "{"), (0.05, "evidence", "some"), (0.05, "response", "xml")):
        if rng.random() < share:
            values[key] = wrong
            made.faults |= {"invalid_value", "invalid_schema", "unknown_task"}
            made.words.append(f"{key}={wrong}")
    return values


def _encoded_image(rng: random.Random, made: Composed) -> str:
    """Return base64 of the image in one of the forms that clients send, or of something else."""
    lines = base64.encodebytes(IMAGE).decode()
    good = (
        B64, B64.replace("+", " "), lines, B64.rstrip("="), base64.urlsafe_b64encode(IMAGE).decode(), quote(B64, safe=""),
        f" {B64}\n", f"data:image/png;base64,{B64}", f"DATA:IMAGE/PNG;BASE64,{B64}", f"data:;base64,{B64}",
        lines.replace("\n", "\r\n"),
    )  # fmt: skip
    bad = (
        ("", {"empty_input"}),
        ("   ", {"empty_input"}),
        ("https://shop.example/a.png", {"remote_picture"}),
        ("!!!!", {"invalid_base64"}),
        ("C:\\photos\\a.jpg", {"invalid_base64"}),
        (B64[:41] + "*" + B64[41:], {"invalid_base64"}),
        (base64.b64encode(b"no image at all, but text").decode(), {"unsupported_media_type"}),
        (base64.b64encode(IMAGE[:50]).decode(), {"unreadable_image"}),
    )
    if rng.random() < 0.75:
        return rng.choice(good)
    text, codes = rng.choice(bad)
    made.faults |= codes
    made.words.append(f"image {text[:20]!r}")
    return text


def _json(rng: random.Random, made: Composed, values: dict[str, Any]) -> None:
    body = {rng.choice(("image", "file")): _encoded_image(rng, made), **values}
    charset = rng.choice(("", "", "; charset=utf-8", "; charset=UTF-16", "; charset=gbk"))
    text = json.dumps(body, ensure_ascii=rng.random() < 0.5)
    try:
        made.content = text.encode(charset.partition("=")[2].lower() or "utf-8")
    except UnicodeEncodeError:
        charset, made.content = "", text.encode()
    made.headers["content-type"] = rng.choice(("application/json", "application/JSON", "Application/json")) + charset
    if rng.random() < 0.05:
        made.content = made.content[: rng.randrange(1, len(made.content))]
        made.faults = {"bad_request"}
        made.words.append("cut JSON")


def _form(rng: random.Random, made: Composed, values: dict[str, Any]) -> None:
    boundary = rng.choice(("x", "----WebKitFormBoundary7MA4YWxk", "=_1.2:3"))
    parts = [_file_part(rng, made)]
    for key, value in values.items():
        text = ",".join(value) if isinstance(value, list) else value
        charset = rng.choice(("", "", "utf-8", "gbk", "utf-16"))
        try:
            data = text.encode(charset or "utf-8")
        except UnicodeEncodeError:
            charset, data = "", text.encode()
        kind = f"\r\nContent-Type: text/plain; charset={charset}" if charset else ""
        parts.append(f'Content-Disposition: form-data; name="{key}"{kind}'.encode() + b"\r\n\r\n" + data)
    rng.shuffle(parts)
    before = rng.choice((b"", b"", b"This is a multi-part message.\r\n", b"\r\n"))
    mark = b"--" + boundary.encode()
    made.content = (
        before + b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--" + rng.choice((b"\r\n", b""))
    )
    quoted = f'"{boundary}"' if boundary.startswith("=") or rng.random() < 0.5 else boundary
    made.headers["content-type"] = f"multipart/form-data; boundary={quoted}"


def _file_part(rng: random.Random, made: Composed) -> bytes:
    name = rng.choice(("file", "image", "image_file"))
    kind = rng.choice(("", "image/png", "image/jpg", "application/octet-stream", "text/plain"))
    head = f'Content-Disposition: form-data; name="{name}"{rng.choice(NAMES)}' + (f"\r\nContent-Type: {kind}" if kind else "")
    draw = rng.random()
    if draw < 0.6:
        return head.encode() + b"\r\n\r\n" + IMAGE
    if draw < 0.8:
        return head.encode() + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(IMAGE)
    bad = (
        (b"", {"empty_input"}),
        (b"\x00\x01\x02 no image " * 9, {"unsupported_media_type"}),
        (IMAGE[:50], {"unreadable_image"}),
    )
    data, codes = rng.choice(bad)
    made.faults |= codes
    made.words.append(f"file {data[:12]!r}")
    return head.encode() + b"\r\n\r\n" + data


def _compressed(rng: random.Random, made: Composed) -> None:
    coding = rng.choice(("gzip", "GZIP", "br"))
    made.headers["content-encoding"] = coding
    if coding == "br":
        made.faults = {"unsupported_media_type"}
        made.words.append("br")
    else:
        made.content = gzip.compress(made.content, mtime=0)


def check(made: Composed, answer: httpx.Response) -> None:
    """Fail if the answer is an error of the server, blames the wrong thing, or names internals."""
    description = f"{made.words} {made.headers} {answer.status_code} {answer.text[:500]}"
    if answer.status_code == 422 and answer.json()["code"] == "task_not_supported":
        return  # a question for a language model
    if not made.faults:
        assert answer.status_code == 200, description
        assert answer.json().get("width", 40) == 40, description
        return
    assert 400 <= answer.status_code < 500, description
    body = answer.json()
    assert body["code"] in made.faults, description
    assert body["detail"], description
    assert not INTERNALS.search(answer.text), description


@pytest.mark.parametrize("count", [SAMPLE, pytest.param(ALL, marks=pytest.mark.long)])
async def test_generated_requests_are_read_or_refused_by_their_fault(client: httpx.AsyncClient, count: int) -> None:
    rng = random.Random(16)
    read = 0
    for _ in range(count):
        made = compose(rng)
        answer = await client.post(f"http://test{made.path}", content=made.content, headers=made.headers, params=made.params)
        check(made, answer)
        read += answer.status_code == 200
    assert 0.3 * count < read < 0.9 * count, "both good and bad requests are composed"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: httpx.Response(500, json={"code": "internal", "detail": "x"}),
        lambda answer: httpx.Response(400, json={"code": "unreadable_image", "detail": "x"}),
        lambda answer: httpx.Response(400, json={"code": "empty_input", "detail": "function-before[check]"}),
    ],
    ids=["server error", "wrong blame", "internals"],
)
async def test_the_check_finds_wrong_answers(spoil: Callable[[Any], httpx.Response]) -> None:
    with pytest.raises(AssertionError):
        check(Composed(faults={"empty_input"}), spoil(None))
