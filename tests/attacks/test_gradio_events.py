"""Nothing that a client sends to Gradio's routes hangs the process, opens a file or contacts anybody; and the page works."""

import json
import re
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.api.auth.test_page import PICTURE
from tests.support.appliance import Appliance, appliance

pytestmark = pytest.mark.timeout(180)
PATIENCE_S = 2.0
MEMORY = 8 * 2**30  # bytes of address space: a program that reads a device without an end is stopped by it
JOIN = "/gradio_api/queue/join"


class Attacked:
    """The running program, and what an attacker names: files, devices and addresses."""

    def __init__(self, running: Appliance, client: httpx.Client, folder: Path, data: Path) -> None:
        self.running, self.folder = running, folder
        self.client = client
        self.files = ["/dev/zero", "/etc/passwd", str(data / "session.key"), str(data / "canary.txt")]
        self.addresses = [
            "http://10.255.255.1/canary",
            "https://canary.invalid/a.png",
            f"{running.api}/health",
            "file:///etc/passwd",
        ]
        self.seen = len(self.watched())

    def watched(self) -> list[str]:
        return (self.folder / "watched.txt").read_text().splitlines()

    def status(self, method: Any, path: str, **options: Any) -> int:
        """The status of an answer that must begin within two seconds."""
        with self.client.stream(method, path, **options) as answer:
            if "event-stream" not in answer.headers.get("content-type", ""):
                answer.read()
            assert answer.status_code not in (500, 502), (method, path, options)
            return answer.status_code

    def health_s(self) -> float:
        """Seconds that /health takes."""
        began = time.monotonic()
        assert httpx.get(f"{self.running.api}/health", timeout=PATIENCE_S).status_code == 200
        return time.monotonic() - began

    def assert_untouched(self) -> None:
        """Still quick, and since the start nothing that was named was opened, contacted or copied."""
        time.sleep(0.5)  # an event that was taken runs after its answer
        assert min(self.health_s() for _ in range(5)) < 0.2
        lines = self.watched()[self.seen :]
        assert [line for line in lines if not line.startswith("open ")] == []
        assert [line for line in lines if any(repr(file) in line for file in self.files)] == []
        assert [path for path in (self.folder / "tmp").rglob("*") if path.is_file()] == []


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    folder = tmp_path_factory.mktemp("attacked")
    (data := folder / "data").mkdir()
    (folder / "tmp").mkdir()
    (data / "canary.txt").write_text("canary")
    settings = json.dumps(
        {"security": {"allow_anonymous": True}, "network": {"requests_per_minute_per_ip": 0, "requests_per_minute_per_key": 0}}
    )
    program = (sys.executable, "-m", "tests.attacks.page_program", str(folder), settings)
    with appliance(program=program, HUNYUANOCR_DATA=str(data), TMPDIR=str(folder / "tmp")) as running:
        resource.prlimit(running.process.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
        running.until_ready()
        with httpx.Client(base_url=running.page, timeout=PATIENCE_S) as client:
            yield Attacked(running, client, folder, data)


def file_data(value: str) -> dict[Any, Any]:
    return {"path": value, "url": value, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}


def bodies(value: str, data: Sequence[str | None] = (None, "en")) -> Iterator[dict[Any, Any]]:
    """Bodies of Gradio's kinds that name the value wherever it could be looked for."""
    file = file_data(value)
    common = {"fn_index": 1, "session_hash": "abc", "trigger_id": 5}
    for hostile in (file, [file], {"a": [{"b": file}]}, [[[file]]], {"path": value, "meta": None}):
        yield common | {"data": [hostile] * len(data)}
        yield common | {"data": list(data), "event_data": hostile}
        yield common | {"data": list(data), "event_data": {"token": hostile}}
    yield common | {"data": list(data), "session_hash": value}
    yield common | {"data": list(data), "session_hash": file}
    yield common | {"data": list(data), "fn_index": file, "event_id": value, "component_id": 5, "fn_name": "a", "prompt": value}
    yield common | {"data": file, "component_id": 5, "fn_name": "process_example", "code": value}


def filled(path: Any, value: str) -> str:
    """The path with the value in each of its parameters."""
    return re.sub(r"\{[^}]*\}", lambda _: quote(value, safe="/:"), path)


def routes(attacked: Attacked) -> list[Any]:
    """Every route of the running program's page, the API's aside: (method, path)."""
    found = {tuple(route) for route in json.loads((attacked.folder / "routes.json").read_text())}
    own = {(m, p) for m, p in found if p.startswith(("/gradio_api", "/page", "/config", "/monitoring", "/assets", "/static"))}
    assert len(own) > 50, "Gradio's routes are among them"
    return sorted(route for route in found if not route[1].startswith(("/v1", "/docs")) and route[0] != "WS")


def test_no_route_of_the_page_opens_or_contacts_what_a_client_names(attacked: Attacked) -> None:
    for method, path in routes(attacked):
        for value in (*attacked.files[::2], *attacked.addresses[1:3]):
            query = dict.fromkeys(("deep_link", "page", "session_hash", "upload_id", "file", "url", "v"), value)
            status = attacked.status(method, filled(path, value), params=query)
            if path.startswith("/gradio_api") and path not in (JOIN, "/gradio_api/app_id", "/gradio_api/queue/data"):
                assert status in (400, 404, 405), (method, path)
        for body in bodies(attacked.files[1]) if method in ("POST", "PUT", "PATCH") else ():
            attacked.status(method, filled(path, "0"), json=body)
    attacked.assert_untouched()


def test_no_legacy_spelling_is_served(attacked: Attacked) -> None:
    for path in (
        "run/predict",
        "api/predict",
        "queue/join",
        "call/read",
        "upload",
        "file=/dev/zero",
        "proxy=http://10.255.255.1",
        "gradio_api/mcp/sse",
        "gradio_api/mcp",
        "mcp",
        "monitoring",
        "api",
        "info",
        "gradio_api/../gradio_api/info",
        "gradio_api//upload",
        "deep_link",
        "svelte/a.js",
        "manifest.json",
    ):
        for method in ("GET", "POST"):
            assert attacked.status(method, f"/{path}") in (404, 405), path
    attacked.assert_untouched()


def test_no_event_takes_anything_but_flat_values(attacked: Attacked) -> None:
    events = [event for event in attacked.client.get("/config").json()["dependencies"] if event["backend_fn"]]
    assert len(events) >= 6
    for event in events:
        honest = [None if number == 1 else "en" for number in event["inputs"]]
        for value in (attacked.files[0], attacked.addresses[1]):
            for body in bodies(value, honest):
                number = body["fn_index"] if isinstance(body["fn_index"], dict) else event["id"]
                if (
                    not honest
                    and body.keys() == {"data", "fn_index", "session_hash", "trigger_id"}
                    and body["session_hash"] == "abc"
                ):
                    continue  # it has no values: nothing of it is hostile
                assert attacked.status("POST", JOIN, json=body | {"fn_index": number}) in (400, 422), body
    attacked.assert_untouched()


@pytest.mark.parametrize("change", [
    {"fn_index": 99}, {"fn_index": -1}, {"fn_index": 2}, {"fn_index": "1"}, {"fn_index": True}, {"fn_index": None},
    {"fn_index": 1.0}, {"trigger_id": 10**6}, {"trigger_id": "5"}, {"trigger_id": False},
    {"data": []}, {"data": [None, "en", "en"]}, {"data": "en"},
    {"data": [1, "en"]}, {"data": [None, 10**30]}, {"data": [None, "\ud800"]}, {"event_data": {"a" * 40: 1}}, {"event_data": "a"},
    {"event_data": dict.fromkeys("abcdefg", 1)}, {"oauth_token": "a"}, {"batched": True}, {"simple_format": True},
    {"request": {}}, {"event_id": "a"},
])  # fmt: skip
def test_an_event_that_the_page_does_not_send_is_refused(attacked: Attacked, change: dict[str, Any]) -> None:
    body = {"data": [None, "en"], "fn_index": 1, "trigger_id": 5, "session_hash": "abc"}
    answer = attacked.client.post(JOIN, content=json.dumps(body | change))
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_large_or_deep_event_is_refused_at_once(attacked: Attacked) -> None:
    event = '{"data": [null, %s], "fn_index": 1, "session_hash": "abc"}'
    for value in (
        "[" * 60_000 + "]" * 60_000,
        "[" + "[]," * 40_000 + "[]]",
        '"' + "a" * 17_000 + '"',
        "9" * 5_000,
        "1e999",
        "NaN",
    ):
        began = time.monotonic()
        assert attacked.client.post(JOIN, content=event % value).status_code in (400, 413), value[:9]
        assert time.monotonic() - began < PATIENCE_S
    assert attacked.client.post(JOIN, content=event % ('"' + "a" * 200_000 + '"')).status_code == 413


def test_the_page_still_works(attacked: Attacked) -> None:
    client = attacked.client
    token = client.post("/page/uploads", content=PICTURE).json()["token"]
    numbers = {target[1]: e["id"] for e in client.get("/config").json()["dependencies"] for target in e["targets"]}
    shown = ""
    steps: Any = ("load", [], None), ("picked", [None, "zh"], {"token": token}), ("click", [None, "提取总金额", "zh"], None)
    for what, data, event_data in steps:
        event = {"data": data, "event_data": event_data, "fn_index": numbers[what], "trigger_id": 0, "session_hash": "honest"}
        assert client.post(f"{JOIN}?", json=event).status_code == 200
        shown += client.get("/gradio_api/queue/data", params={"session_hash": "honest"}, timeout=20).text
    assert "<img" in shown
    assert "¥36.80" in shown
