"""No regular expression runs away: clients' own patterns (RE2), and those of the product over text from outside."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import httpx
import pytest

from hunyuanocr.client_regex import MAX_LENGTH, ClientRegex, UnsupportedPattern
from hunyuanocr.errors import HunyuanOcrError, InvalidSchema, SchemaNotSatisfied
from hunyuanocr.fields import extract_fields
from hunyuanocr.fields.schema.client_schema import coerce, field_specs
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.types import Field, FieldType, Line
from tests.api.conftest import open_client, quick_settings
from tests.attacks.patterns import Found, product_patterns, texts
from tests.attacks.processes import ROOT
from tests.support.fake_backend import FakeBackend, picture

FREEZES = "a{0,15}" * 30 + "b"
SCHEMAS = {
    "pattern": {"type": "string", "pattern": FREEZES},
    "evil": {"type": "string", "pattern": "(a|aa)+$"},
    "patternProperties": {"patternProperties": {FREEZES: {}}},
    "additionalProperties": {"patternProperties": {FREEZES: {}}, "additionalProperties": False},
    "propertyNames": {"propertyNames": {"pattern": FREEZES}},
    "contains": {"allOf": [{"anyOf": [{"not": {"pattern": FREEZES}}]}]},
    "dialect": {"pattern": FREEZES, "$schema": "http://json-schema.org/draft-07/schema#"},
    "unevaluatedProperties": {"patternProperties": {FREEZES: {}}, "unevaluatedProperties": False},
    "format": {"format": "regex"},
}
VALUES = {
    "format": "(" * 2000,
    "additionalProperties": {"a" * 60 + "!": 1},
    "patternProperties": {"a" * 60 + "!": 1},
    "propertyNames": {"a" * 60 + "!": 1},
    "unevaluatedProperties": {"a" * 60 + "!": 1},
}
PROGRAM = """
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.fields.schema.client_schema import coerce
from hunyuanocr.types import Field, FieldType
from tests.attacks.test_regexes import SCHEMAS, VALUES
for name, part in SCHEMAS.items():
    print(name, flush=True)
    value = VALUES.get(name, "a" * 60 + "!")
    field = Field("note", FieldType.TEXT, value) if isinstance(value, str) else Field("note", FieldType.TEXT, "x", value)
    try:
        coerce({"type": "object", "properties": {"note": part}, "required": ["note"]}, [field])
    except HunyuanOcrError:
        pass
print("all", flush=True)
"""


def test_a_clients_pattern_cannot_stop_the_process() -> None:
    """In a process of its own: what backtracks holds the interpreter, and no time-out of a test would end it."""
    program = [sys.executable, "-c", PROGRAM]
    try:
        done = subprocess.run(program, cwd=ROOT, timeout=20, check=True, capture_output=True, text=True).stdout
    except subprocess.TimeoutExpired as e:
        pytest.fail(f"the last of these does not end: {e.stdout!r}")
    assert done.split() == [*SCHEMAS, "all"]


@pytest.mark.parametrize(("pattern", "why"), [
    ("(?=a)b", "look-around"), ("(?<!a)b", "look-around"),
    (r"(a)\1", "back-references"), ("a++", "quantifiers"), ("(", "missing"),
    ("a{1001}", "1,000"), (r"([0-9]{0,900}){0,900}", "1,000"), (".{1000}" * 20, "memory"), ("x{0,1000}" * 3, "memory"),
    (r"\ud83d", "surrogate"), (r"[+-\d]", "range"), ("a" * (MAX_LENGTH + 1), "1000"), (r"\Qa\E", "escape"),
])  # fmt: skip
def test_what_the_engine_does_not_take_is_refused_by_name(pattern: str, why: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    for ask in (field_specs, lambda s: coerce(s, [])):
        with pytest.raises(InvalidSchema, match=why) as caught:
            ask(schema)
        assert pattern[:20] in caught.value.message


@pytest.mark.parametrize(("pattern", "good", "bad"), [
    (r"^\d{4}-\d{2}-\d{2}$", "2026-11-30", "30.11.2026"), (r"^(\d{1,3}\.){3}\d{1,3}$", "10.0.0.1", "10.0.0"),
    (r"^[¥$]?\d+(\.\d{2})?$", "¥36.80", "¥36.8"), (r"^\w+$", "王小明", "王 小明"), (r"^[\w ]{1,200}$", "王 小明", "王，小明"),
    (r"^[\u4e00-\u9fa5]{2,4}$", "王小明", "Wang"), (r"^[一-龥]+$", "王小明", "王小明a"),
    (r"^\S+\s\S+$", "a　b", "ab"), (r"^\d+$", "１２", "十二"),
    (r"^[^\W\d_]+$", "é王", "é1"), (r"(?i)^total$", "TOTAL", "totals"),
    (r"^(?P<y>\d{4})$", "2026", "20"), ("^a{,2}$", "aa", "aaa"),
    (r"^a\Z", "a", "ab"), (r"\u4e00", "一", "二"),
    (r"^\ud83d\ude00$", "😀", "😁"), (r"^[]a]$", "]", "b"), (r"^[\[:al]+$", "[:a", "x"),
    (r"^[-\d]+$", "1-2", "a"), (r"^\x41\/$", "A/", "B/"),
    (r"^[^-\s]+$", "a", "-"), (r"^.*a.*b.*c$", "xaybzc", "cba"), ("", "", None),
    (r"^[A-Z]{2,3}-?\d+$", "AB-12", "A-12"), (r"^\+?\d[\d -]{7,14}$", "+86 138 0013", "12"), (r"^(?:cash|card)$", "cash", "gold"),
])  # fmt: skip
def test_everyday_patterns_mean_what_they_meant(pattern: str, good: str, bad: str | None) -> None:
    compiled = ClientRegex(pattern)
    for text in (good, bad):
        if text is not None:
            assert (
                compiled.search(text) == (re.search(pattern.replace(r"\ud83d\ude00", "😀"), text) is not None) == (text == good)
            )


def test_classes_are_those_of_python_where_chinese_and_latin_papers_are_written() -> None:
    """Other scripts are taken in whole blocks."""
    ranges = [(0, 0x2C2), (0x2000, 0x206F), (0x3000, 0x30FF), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0xFF00, 0xFFBE)]
    letters = [chr(n) for a, b in ranges for n in range(a, b, 1 if b - a < 1000 else 97)]
    for name in (r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", r"[^\W_]", r"[\s\d]"):
        ours, python = ClientRegex(f"^{name}$"), re.compile(f"^{name}\\Z")
        assert [c for c in letters if ours.search(c) != bool(python.search(c))] == [], name


@pytest.mark.parametrize(
    "pattern",
    [
        "x{0,500}" * 2 + "y",
        r"\w{0,200}y",
        "(?:x?x?){500}y",
        "(?:(?:x|y)*(?:xx|yx)*x?){100}z",
        "(x{0,30}){0,30}y",
        "[^a]*x[^a]{300}y",
    ],
)
def test_the_costliest_patterns_take_little_time(pattern: str) -> None:
    """Compiling holds the interpreter: it must be short. Matching does not; its time is linear."""
    began = time.thread_time()
    compiled = ClientRegex(pattern)
    assert time.thread_time() - began < 0.25
    began = time.thread_time()
    compiled.search("x" * 2000)
    compiled.search("xy" * 2000)
    assert time.thread_time() - began < 1.0


def test_many_patterns_are_bounded() -> None:
    many = {f"p{n}": {"type": "string", "pattern": f"^{n}a$"} for n in range(300)}
    heavy = {f"p{n}": {"type": "string", "pattern": rf"^{n}\w{{0,200}}$"} for n in range(60)}
    circled = {f"p{n}": {"$ref": "#/$defs/a"} for n in range(60)}
    definitions = {"$defs": {"a": {"pattern": r"^\w{0,200}$"}}}
    for schema in ({"properties": many}, {"properties": heavy}, {"properties": circled, **definitions}):
        began = time.thread_time()
        with pytest.raises(InvalidSchema, match="too many or too long"):
            field_specs({"type": "object", **schema})
        assert time.thread_time() - began < 2.0
    few = {"type": "object", "properties": {f"p{n}": {"type": "string", "pattern": f"^{n}[a-z]{{1,40}}$"} for n in range(40)}}
    assert len(field_specs(few)) == 40


def test_lists_that_cannot_be_sorted_are_not_compared_each_with_each() -> None:
    began = time.thread_time()
    for part in ({"type": ["string", *range(4000)]}, {"required": [name for n in range(4000) for name in (n, str(n))]}):
        with pytest.raises(InvalidSchema):
            field_specs({"type": "object", "properties": {"a": part}})
    assert time.thread_time() - began < 1.0


def test_dialects_are_left_out_at_the_top_and_refused_within() -> None:
    draft7 = "http://json-schema.org/draft-07/schema#"
    schema = {"$schema": draft7, "type": "object", "properties": {"a": {"type": "string", "pattern": "^b$"}, "c": {"$ref": "#"}}}
    assert coerce(schema, [Field("a", FieldType.TEXT, "b")]) == {"a": "b"}
    assert coerce(schema, [Field("a", FieldType.TEXT, "c")]) == {}
    with pytest.raises(SchemaNotSatisfied):
        coerce({**schema, "required": ["a"]}, [Field("a", FieldType.TEXT, "c")])
    with pytest.raises(InvalidSchema, match="dialect"):
        field_specs({"type": "object", "properties": {"a": {"$schema": draft7}}})


def test_a_name_of_a_property_is_no_keyword() -> None:
    names = ("pattern", "patternProperties", "required", "type", "$schema")
    assert len(field_specs({"type": "object", "properties": {name: {"type": "string"} for name in names}})) == len(names)


def test_a_long_text_matches_no_pattern() -> None:
    with pytest.raises(UnsupportedPattern):
        ClientRegex("a" * 2000)
    assert ClientRegex("a").search("a" * 4000)
    assert not ClientRegex("a").search("a" * 4001)


def _runner(found: Found) -> Callable[[str], object]:
    """As the product uses it: anchored, or from every place of the text."""
    compiled = re.compile(found.pattern, found.flags)
    if found.methods and found.methods <= {"match", "fullmatch"}:
        return lambda text: [getattr(compiled, method)(text) for method in found.methods]
    return lambda text: [None for _ in compiled.finditer(text)]


def _cpu(run: Callable[[str], object], text: str) -> float:
    began = time.thread_time()
    run(text)
    return time.thread_time() - began


def _takes_longer(run: Callable[[str], object], text: str, limit_s: float) -> bool:
    """Whether each of three runs takes longer; one alone may be a pause of the machine."""
    return all(_cpu(run, text) > limit_s for _ in range(3))


def slow_texts(found: Found, n: int, limit_s: float, *, every: bool = False) -> list[str]:
    """Starts of texts for which four times the length takes more than seven times the time; a linear pattern has none."""
    run, slow = _runner(found), []
    for text in texts(found.pattern, found.flags, every=every):
        if any(_takes_longer(run, text(few), limit_s) for few in (*range(12, 60, 4), n // 16, n // 8, n // 4)):
            slow.append(text(20))
            continue
        long = _cpu(run, text(n))
        if long > limit_s:
            long = min(long, _cpu(run, text(n)))
            short = min(_cpu(run, text(n // 4)) for _ in range(4))
            if long > limit_s and long > 7 * short:
                slow.append(text(20))
    return slow


@pytest.fixture(scope="module")
def patterns() -> list[Found]:
    found, unknown = product_patterns()
    assert [call for call in unknown if "backends.torch_local.processor" not in call] == []  # that one is of escaped names
    return found


def test_no_pattern_of_the_product_is_slow_on_a_thousand_characters(patterns: list[Found]) -> None:
    assert len(patterns) > 150
    assert {f"{found.place} {found.pattern[:60]!r}": slow for found in patterns if (slow := slow_texts(found, 1600, 0.005))} == {}


@pytest.mark.long
def test_no_pattern_of_the_product_is_superlinear(patterns: list[Found]) -> None:
    slow = {f"{found.place}": texts for found in patterns if (texts := slow_texts(found, 6000, 0.008, every=True))}
    assert slow == {}


@pytest.mark.parametrize("pattern", [r"\s+$", r"\d[\d.]*x", r"[(\[][^)]*\d[^)]{2,}\d[^)]*\).{0,6}$", r"(?:a|b).*c"])
def test_a_slow_pattern_is_found(pattern: str) -> None:
    assert slow_texts(Found(pattern, 0, "", set()), 6000, 0.005)
    if pattern.startswith((r"\s", r"\d")):
        assert not slow_texts(Found(pattern, 0, "", {"fullmatch"}), 1600, 0.005)


@pytest.mark.parametrize(
    "unit",
    [
        " ",
        "1,",
        "1.000,",
        "a ",
        "（",
        "总金额、",
        "of ",
        "“a”",
        '{"a":"',
        "(1)",
        "[1",
        "total, ",
        "为",
        "a/b ",
        "\n",
    ],
)
def test_a_hostile_instruction_is_understood_in_time(unit: str) -> None:
    for start in ("", "提取", "what is "):
        began = time.thread_time()
        with suppress(HunyuanOcrError):
            parse_instruction((start + unit * 4000)[:3990] + "!")
        assert time.thread_time() - began < 0.5


@pytest.mark.parametrize(
    "unit",
    [
        " ",
        "1 ",
        "1-",
        "1,",
        "¥1 ",
        "RM1.00 ",
        "金额",
        "total,",
        "(1)",
        "[1",
        "省路",
        "一",
        "a@",
        "1mgx1",
        "::",
    ],
)
def test_fields_are_found_on_a_hostile_page_in_time(unit: str) -> None:
    names = ["total_amount", "date", "merchant", "items", "phone", "address", "email", "发票号", "quantity", "备注"]
    task = parse_instruction(fields=names)
    for rows, letters in ((20, 200), (2, 2000)):
        boxes = [((10, y), (900, y), (900, y + 25), (10, y + 25)) for y in range(10, 10 + 30 * rows, 30)]
        lines = [Line(unit * (letters // len(unit)) + "!", box, 0.9) for box in boxes]
        took = _seconds(partial(extract_fields, lines, task.fields, [(1000, 2000)]))
        assert took < 0.7 or _seconds(partial(extract_fields, lines, task.fields, [(1000, 2000)])) < 0.7


def _seconds(work: Callable[[], object]) -> float:
    """Of this thread; twice as many where the machine is busy."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


async def test_every_door_refuses_a_pattern_by_its_name(make_api: Callable[..., Any]) -> None:
    """`/v1/ocr` as JSON and as a form, jobs, batches, chat completions; and an honest pattern passes."""
    client = await make_api()
    image = base64.b64encode(picture()).decode()
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}

    def sent(pattern: str) -> list[Awaitable[httpx.Response]]:
        schema = {"type": "object", "properties": {"note": {"type": ["string", "null"], "pattern": pattern}}}
        form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        chat = {"messages": [{"role": "user", "content": [url]}], "response_format": form}
        file = {"file": ("a.png", picture())}
        return [
            client.post("/v1/ocr", json={"image": image, "schema": schema}),
            client.post("/v1/ocr", files=file, data={"schema": json.dumps(schema)}),
            client.post("/v1/jobs", json={"image": image, "schema": schema}),
            client.post("/v1/batch", files=file, data={"schema": json.dumps(schema)}),
            client.post("/v1/chat/completions", json=chat),
        ]

    for request in sent("(?=total)a"):
        answer = await request
        assert answer.status_code == 422
        assert "(?=total)a" in answer.text
        assert "look-around" in answer.text
    for request in sent(r"^\d{4}-\d\d$"):
        assert (await request).status_code in (200, 202)


@pytest.fixture
async def make_api() -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:
        yield lambda: open_client(stack, quick_settings(), FakeBackend())
