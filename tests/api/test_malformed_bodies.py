"""Requests whose bodies and headers are damaged at random: refused or served, never a 5xx, and the next one is served."""

from __future__ import annotations

import base64
import json
import random

from tests.support.app_client import AppClient
from tests.support.fake_backend import picture

IMAGE = picture()
FORM = (
    b"".join(
        b'--xyz\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % part
        for part in (
            (b"file", b'; filename="a.png"\r\nContent-Type: image/png', IMAGE),
            (b"fields", b"", b"total,date"),
            (b"instruction", b"", "提取总金额和日期，请用原文".encode()),
            (b"evidence", b"", b"fast"),
            (b"response", b"", b"full"),
        )
    )
    + b"--xyz--\r\n"
)
WANTED = {"fields": ["total", "日期"], "evidence": "fast", "response": "full", "stream": False, "task": "extract"}
BODY = json.dumps({**WANTED, "image": base64.b64encode(IMAGE).decode()}).encode()


def damage(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 9))):
        where = rng.randrange(len(out))
        match rng.randrange(3):
            case 0:
                out[where] = rng.randrange(256)
            case 1:
                del out[where : where + rng.randrange(1, 9)]
            case 2:
                out[where:where] = rng.choice((b"\r\n", b"--xyz", b'"', b"{", b"\\ud800", b"\x00", b"[[[[", b"%ff", b"=", b";"))
        if not out:
            return b""
    return bytes(out[: rng.randrange(1, len(out))] if rng.random() < 0.1 else out)


async def test_damaged_bodies_and_headers(client: AppClient) -> None:
    rng = random.Random(20)
    seen: dict[int, int] = {}
    for n in range(1200):
        body, kind = ((FORM, "multipart/form-data; boundary=xyz"), (BODY, "application/json"))[n % 2]
        content_type = damage(rng, kind.encode()).translate(None, b"\r\n\x00") if rng.random() < 0.1 else kind.encode()
        r = await client.post("/ocr", content=damage(rng, body), headers={b"content-type": content_type})
        seen[r.status_code] = seen.get(r.status_code, 0) + 1
        assert r.status_code < 500, r.text
        if r.status_code != 200:
            assert {"detail", "code", "hint", "request_id"} <= set(r.json())
    assert min(seen[200], seen[400], seen[415], seen[422]) > 5, seen
    assert (await client.post("/ocr", files={"file": IMAGE})).status_code == 200
