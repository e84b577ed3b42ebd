"""The form of requests and answers that clients rely on (DESIGN §2)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from hunyuanocr.result_schema import OcrResponse
from hunyuanocr.types import Field, FieldType, Line, Result, ResultWarning, TaskKind, Usage
from tests.support.app_client import AppClient
from tests.support.fake_backend import FakeBackend, picture

ANSWER_KEYS = {
    "id",
    "success",
    "task",
    "text",
    "fields",
    "details",
    "lines",
    "markdown",
    "width",
    "height",
    "page_sizes",
    "codes",
    "pages",
    "warnings",
    "truncated",
    "usage",
    "backend",
    "model",
    "elapsed_ms",
}
IMAGE = picture(1, 2, 3)
B64 = base64.b64encode(IMAGE).decode()


async def test_the_answer_has_exactly_the_keys_of_the_contract(client: AppClient, reader: FakeBackend) -> None:
    reader.text = "Total 12.00"
    r = await client.post("/v1/ocr", files={"file": ("a.jpg", IMAGE, "image/jpeg")})
    assert r.status_code == 200
    body = r.json()
    assert set(body) == ANSWER_KEYS
    assert (body["success"], body["task"], body["text"]) == (True, "read", "Total 12.00")
    assert (body["width"], body["height"], body["page_sizes"], body["pages"]) == (40, 30, [[40, 30]], 1)
    (line,) = body["lines"]
    assert set(line) == {"text", "box", "confidence", "type", "page"}
    assert line["type"] == "money"
    assert len(line["box"]) == 4
    assert body["elapsed_ms"] > 0
    assert body["fields"] == body["details"] == {}
    assert body["markdown"] is None
    assert body["truncated"] is False


def test_the_response_has_every_part_of_a_result() -> None:
    box = ((0.0, 0.0), (9.0, 0.0), (9.0, 4.0), (0.0, 4.0))
    money = Field("总", FieldType.MONEY, "¥36.80", {"amount": "36.80", "currency": "CNY"}, box, 0, 0.98765, True)
    row = {"name": Field("name", FieldType.NAME, "tea"), "amount": Field("amount", FieldType.MONEY)}
    items = Field("items", FieldType.ROWS, rows=(row,))
    result = Result(
        "7",
        TaskKind.EXTRACT,
        "t",
        (Line("t", box, 0.5, 1, FieldType.DATE),),
        (money, items, Field("gone", FieldType.TEXT)),
        "# t",
        ((9, 4), (5, 6)),
        "torch",
        "m",
        0.0,
        notices=(ResultWarning("blurred", "take it again", 1),),
        truncated=True,
        usage=Usage(3, 4),
    )
    body = json.loads(OcrResponse.of(result).model_dump_json())
    assert body["fields"] == {"总": "¥36.80", "items": [{"name": "tea", "amount": None}], "gone": None}
    assert body["details"]["总"] == {
        "value": "¥36.80",
        "type": "money",
        "normalized": {"amount": "36.80", "currency": "CNY"},
        "box": [[0, 0], [9, 0], [9, 4], [0, 4]],
        "page": 0,
        "confidence": 0.9877,
        "text_confidence": None,
        "grounded": True,
    }
    assert body["details"]["items"][0]["name"]["value"] == "tea"
    assert body["details"]["gone"]["grounded"] is False
    assert body["lines"][0]["page"] == 1
    assert body["warnings"] == [{"code": "blurred", "message": "take it again", "page": 1}]
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert (body["pages"], body["page_sizes"], body["truncated"], body["markdown"]) == (2, [[9, 4], [5, 6]], True, "# t")
    assert body["elapsed_ms"] > 0


@pytest.mark.parametrize("path", ["/ocr", "/v1/ocr"])
@pytest.mark.parametrize("key", ["file", "image", "image_file"])
async def test_every_way_to_send_a_picture(client: AppClient, path: str, key: str) -> None:
    sent: list[dict[str, Any]] = [
        {"files": {key: ("a.jpg", IMAGE, "image/jpeg")}},
        {"files": {key: ("a.exe", IMAGE, "application/octet-stream")}},  # the bytes tell, not the name
        {"files": {key: (None, B64)}},  # base64 in a form field without a file name
        {"json": {key: B64}},
        {"json": {key: f"data:image/png;base64,{B64}"}},
        {"json": {key: "\n".join(B64[i : i + 76] for i in range(0, len(B64), 76))}},
        {"json": {key: base64.urlsafe_b64encode(IMAGE).decode().rstrip("=")}},
    ]
    for kwargs in sent:
        r = await client.post(path, **kwargs)
        assert (r.status_code, r.json().get("text")) == (200, "#010203"), (kwargs, r.text)


async def test_json_with_a_charset_and_unknown_keys(client: AppClient) -> None:
    body = json.dumps({"image": B64, "frame_id": 7, "timestamp": 1.5, "options": {"a": []}})
    r = await client.post("/ocr", content=body, headers={"content-type": "application/json; charset=utf-8"})
    assert r.status_code == 200


async def test_an_unknown_name_is_reported_and_a_printed_one_is_not(client: Any, reader: Any) -> None:
    reader.text = "Total 12.00\nLocker: 7"
    body = (await client.post("/ocr", files={"file": IMAGE}, data={"fields": "totl amuont,Locker,tax"})).json()
    assert body["fields"] == {"totl amuont": None, "Locker": "7", "tax": None}
    unknown, locker, tax = (body["details"][key] for key in body["fields"])
    assert (unknown["value"], unknown["reason"], unknown["suggestions"]) == (None, "unknown_field", ["total_amount"])
    assert not {"reason", "suggestions"} & {*locker}
    assert (tax["reason"], tax.get("suggestions")) == ("not_printed", None)
    assert [w["code"] for w in body["warnings"]].count("unknown_field") == 1


@pytest.mark.parametrize("key", ["instruction", "prompt"])
@pytest.mark.parametrize("form", [True, False])
async def test_an_instruction_in_words(client: AppClient, reader: FakeBackend, key: str, form: bool) -> None:
    reader.text = "Total 12.00"
    kwargs = {"files": {"file": IMAGE}, "data": {key: "请提取总金额"}} if form else {"json": {"image": B64, key: "请提取总金额"}}
    body = (await client.post("/ocr", **kwargs)).json()
    assert body["task"] == "extract"
    assert list(body["fields"]) == ["total_amount"]
    always = {"value", "type", "normalized", "box", "page", "confidence", "text_confidence", "grounded"}
    assert always <= set(body["details"]["total_amount"]) <= always | {"doubts", "alternatives"}


@pytest.mark.parametrize(
    "kwargs",
    [
        {"files": {"file": IMAGE}, "data": {"fields": "Total, 日期，no such"}},
        {"files": {"file": IMAGE}, "data": {"fields": '["Total", "日期", "no such"]'}},
        {"files": {"file": IMAGE}, "data": {"fields": ["Total", "日期", "no such"]}},
        {"json": {"image": B64, "fields": ["Total", "日期", "no such"]}},
        {"json": {"image": B64, "fields": "Total,日期,no such"}},
    ],
)
async def test_fields_come_back_under_the_clients_own_names(
    client: AppClient, reader: FakeBackend, kwargs: dict[str, Any]
) -> None:
    reader.text = "Total 12.00"
    fields = (await client.post("/ocr", **kwargs)).json()["fields"]
    assert list(fields) == ["Total", "日期", "no such"]
    assert fields["日期"] is None
    assert fields["no such"] is None


async def test_response_fields_answers_the_fields_alone(client: AppClient, reader: FakeBackend) -> None:
    reader.text = "Total 12.00"
    r = await client.post("/ocr", files={"file": IMAGE}, data={"instruction": "请提取总金额", "response": "fields"})
    assert set(r.json()) == {"total_amount"}
    r = await client.post("/ocr", json={"image": B64, "fields": ["a"], "response": "fields"})
    assert r.json() == {"a": None}


@pytest.mark.parametrize("form", [True, False])
async def test_a_schema_gives_normalised_values_that_fit_it(client: AppClient, reader: FakeBackend, form: bool) -> None:
    reader.text = "Total: 12.00"
    schema = {"type": "object", "properties": {"total_amount": {"type": "number"}}, "required": ["total_amount"]}
    as_form = {"files": {"file": IMAGE}, "data": {"schema": json.dumps(schema)}}
    body = (await client.post("/ocr", **(as_form if form else {"json": {"image": B64, "schema": schema}}))).json()
    assert body["fields"] == {"total_amount": 12.0}
    assert body["details"]["total_amount"]["value"]


async def test_no_text_is_success(client: AppClient, reader: FakeBackend) -> None:
    reader.text = ""
    body = (await client.post("/ocr", files={"file": IMAGE})).json()
    assert (body["success"], body["text"], body["lines"]) == (True, "", [])


async def test_empty_parameters_are_ignored(client: AppClient) -> None:
    names = ("instruction", "task", "fields", "schema", "language", "evidence", "stream", "response")
    form = await client.post("/ocr", files={"file": IMAGE}, data=dict.fromkeys(names, ""))
    as_json = [await client.post("/ocr", json={"image": B64} | dict.fromkeys(names, empty)) for empty in ("", None)]
    for r in (form, *as_json):
        assert (r.status_code, r.json()["task"]) == (200, "read"), r.text


async def test_an_empty_alias_hides_nothing(client: AppClient) -> None:
    for empty in ("", None, "  "):
        wish = {"instruction": empty, "prompt": "提取日期", "response": "fields"}
        assert (await client.post("/ocr", json={"image": B64, **wish})).json() == {"date": None}
    r = await client.post("/ocr", json={"image": B64, "file": "", "image_file": None})
    assert r.status_code == 200, r.text
    r = await client.post("/ocr", files={"file": IMAGE}, data={"image": ""})
    assert r.status_code == 200, r.text
    for nothing in ({"image": ""}, {"image": "", "file": ""}):
        assert (await client.post("/ocr", files={"x": (None, "1")}, data=nothing)).json()["code"] == "empty_input"
        assert (await client.post("/ocr", json=nothing)).json()["code"] == "empty_input"


async def test_request_ids_are_echoed_when_sane_and_made_when_not(client: AppClient) -> None:
    r = await client.post("/ocr", files={"file": IMAGE}, headers={"X-Request-Id": "till-7.2026"})
    assert r.headers["x-request-id"] == "till-7.2026"
    for bad in ("a" * 65, "new\tline", "ü", "<b>", ""):
        r = await client.post("/ocr", files={"file": b""}, headers={b"X-Request-Id": bad.encode()})
        made = r.headers["x-request-id"]
        assert len(made) == 32
        assert r.json()["request_id"] == made


async def test_ids_of_answers_are_their_own(client: AppClient) -> None:
    ids = {(await client.post("/ocr", files={"file": IMAGE}, headers={"X-Request-Id": "same"})).json()["id"] for _ in range(5)}
    assert len(ids) == 5
