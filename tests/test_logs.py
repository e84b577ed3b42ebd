"""Logs: an object a line, the request's id on each, and nothing of what people send: not at any level, not in any failure."""

import base64
import json
import logging
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from hunyuanocr import log_setup
from hunyuanocr.config import LogSettings
from hunyuanocr.errors import BackendFailed, ConfigError
from hunyuanocr.loadtest.receipts import draw_text
from tests.support.appliance import appliance

SECRETS = ("quokka", "77431", "zirkon", "袋熊")  # on the picture, or in what is asked of it
INSTRUCTION = "提取总金额和袋熊zirkon编号"


def photo() -> bytes:
    return draw_text(["QUOKKA No 77431"], font_size=56, width=640, margin=30)


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What an appliance has written at DEBUG while it was asked in every way, for good and for ill; and its log file."""
    file = tmp_path_factory.mktemp("log") / "box.log"
    environment: dict[str, Any] = {
        "HUNYUANOCR_LOG__FORMAT": "json",
        "HUNYUANOCR_LOG__LEVEL": "debug",
        "HUNYUANOCR_LOG__FILE": str(file),
        "HUNYUANOCR_SERVER__PORT": "0",
        "HUNYUANOCR_DATA": str(file.parent / "data"),
    }
    with appliance("--no-page", json_log=True, **environment) as running:
        running.until_ready()
        base, data = running.api, photo()
        with httpx.Client(base_url=base, timeout=60) as client:
            asked: dict[str, Any] = {"files": {"file": data}, "data": {"instruction": INSTRUCTION}}
            seen = client.post("/ocr", headers={"X-Request-Id": "till-7"}, **asked)
            assert seen.status_code == 200, seen.text
            assert "77431" in seen.json()["text"], "it was read"
            _ask_everywhere(client, data)
        with connect(
            base.replace("http", "ws") + "/v1/ws", additional_headers={"X-Request-Id": "camera-3"}, open_timeout=60
        ) as socket:
            _ask_by_socket(socket, data)
        assert running.stop() == 0
    return "".join(running.printed), file.read_text(encoding="utf-8")


def _ask_everywhere(client: httpx.Client, data: bytes) -> None:
    encoded = base64.b64encode(data).decode()
    for body in (
        {"image": encoded, "fields": ["Quokka", "77431"]},
        {"image": "quokka 77431", "instruction": INSTRUCTION},
        {"image": encoded, "task": "zirkon"},
        {"image": encoded, "schema": {"type": "Quokka"}},
        {"image": encoded, "zirkon": 1},
        {"image": encoded, "instruction": INSTRUCTION, "stream": True},
        {"image": encoded, "schema": {"type": "object", "properties": {"袋熊": {"type": "number"}}, "required": ["袋熊"]}},
    ):
        client.post("/v1/ocr", json=body)
    job = client.post("/v1/jobs", files={"file": ("Quokka.png", data)}, data={"instruction": INSTRUCTION}).json()["id"]
    assert client.get(f"/v1/jobs/{job}?wait=60").json()["status"] == "done"
    batch = client.post("/v1/batch", files=[("file", ("quokka-77431.png", data)), ("file", ("zirkon.pdf", b"%PDF-77431"))])
    client.get(f"{batch.headers['location']}/results")
    assert client.get("/v1/records", params={"text": "77431"}).json()["data"]
    message = {"role": "user", "content": [{"type": "text", "text": INSTRUCTION}, _picture(encoded)]}
    client.post("/v1/chat/completions", json={"model": "x", "messages": [message]})
    client.get("/metrics")
    client.get("/health")


def _picture(encoded: str) -> dict[Any, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}


def _ask_by_socket(socket: ClientConnection, data: bytes) -> None:
    socket.send(json.dumps({"type": "configure", "instruction": INSTRUCTION}))
    socket.recv(60)
    for sent in (data, b"quokka 77431"):
        socket.send(json.dumps({"frame_id": "袋熊", "timestamp": time.monotonic(), "image": base64.b64encode(sent).decode()}))
        while json.loads(socket.recv(60)).get("status") == "partial":
            pass
    socket.send("zirkon {")
    socket.recv(60)


def test_nothing_that_was_sent_is_in_the_log(reported: Any) -> None:
    for text in reported:
        assert len(text.splitlines()) > 10
        low = text.lower()
        assert [secret for secret in SECRETS if secret in low or json.dumps(secret)[1:-1] in low] == []
        assert base64.b64encode(photo()).decode()[:40] not in text


def test_every_line_is_an_object(reported: Any) -> None:
    for text in reported:
        for line in text.splitlines():
            seen = json.loads(line)
            assert {"time", "level", "logger", "message"} <= seen.keys()
            assert seen["time"].endswith("Z")


def test_a_requests_lines_carry_its_id_and_fields(reported: Any) -> None:
    lines = [json.loads(line) for line in reported[1].splitlines()]
    mine = [line for line in lines if line.get("request_id") == "till-7"]
    reading = next(n for n in mine if n["logger"] == "hunyuanocr.pipeline.pipeline")
    access = next(n for n in mine if n["logger"] == "hunyuanocr.access")
    assert (reading["task"], reading["outcome"], reading["pages"]) == ("extract", "ok", 1)
    assert reading["read_ms"] > 0
    assert (access["method"], access["path"], access["status"]) == ("POST", "/ocr", 200)
    assert any(line.get("request_id") == "camera-3" for line in lines if "reading" in line), "a camera's readings too"
    probes = [line for line in lines if line.get("path") in ("/health", "/metrics", "/ready") and line["status"] == 200]
    assert {line["level"] for line in probes} == {"debug"}


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Logs set up as settings say, and put back afterwards; gives what is in the file."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, {room: logging.getLogger(room).level for room in log_setup.OWN_PACKAGES}

    def go(**settings: Any) -> Path:
        file = tmp_path / "folder" / "box.log"
        log_setup.configure_logging(LogSettings(file=file, **settings))
        return file

    yield go
    for handler in root.handlers[:]:
        if handler not in before[0]:
            handler.close()
    root.handlers[:], root.level = before[0], before[1]
    for room, level in before[2].items():
        logging.getLogger(room).setLevel(level)
    logging.captureWarnings(capture=False)


def test_words_of_a_failure_are_left_out_where_they_may_hold_text(written: Callable[..., Any]) -> None:
    file, sent = written(format="json"), " ".join(SECRETS)
    try:
        try:
            float(sent)
        except ValueError as e:
            raise BackendFailed("The reader broke.") from e
    except BackendFailed:
        logging.getLogger("hunyuanocr.test").exception("It broke.")
    line = json.loads(file.read_text())
    assert "quokka" not in line["exception"]
    assert "builtins.ValueError" in line["exception"], "its type is logged"
    assert "test_logs.py" in line["exception"], "and where it happened"
    assert "BackendFailed: The reader broke." in line["exception"], "and what cannot be anybody's text"


def test_a_group_and_a_circle_of_failures_are_reported() -> None:
    group = ExceptionGroup("quokka", [OSError(28, "No space left on device"), KeyError("quokka")])
    group.__cause__ = sqlite3.OperationalError("no such table: jobs")
    group.__cause__.__context__ = group
    said = log_setup.format_exception_chain(group)
    assert "No space left on device" in said
    assert "no such table" in said
    assert "quokka" not in said


def test_a_line_for_people_has_the_id_once(written: Callable[..., Any]) -> None:
    file = written()
    with log_setup.request_context("r-1"):
        logging.getLogger("hunyuanocr.test").info("It works.")
        logging.getLogger("hunyuanocr.test").info("request=r-1 It works.")
    logging.getLogger("hunyuanocr.test").info("Outside.")
    first, second, third = file.read_text().splitlines()
    assert first.endswith("It works. request=r-1")
    assert second.count("r-1") == 1
    assert "request" not in third


def test_nobody_writes_lines_of_his_own(written: Callable[..., Any]) -> None:
    file, forged = written(), "/x\n2026-11-21 00:00:00,000 INFO api.lifespan: All is well\r\x1b[31m\x85\u2028袋熊"
    logging.getLogger("hunyuanocr.access").info("GET %s 404", forged)
    try:
        raise OSError(forged)
    except OSError:
        logging.getLogger("hunyuanocr.test").exception("It broke.")
    reported = file.read_text(encoding="utf-8")
    assert not any(line.startswith("2026-11-21 00:00:00") for line in re.split("[\r\n\x85\u2028]", reported))
    assert r"GET /x\n2026" in reported, "it is logged, but escaped"
    assert r"\x1b[31m\x85\u2028袋熊" in reported
    assert "\x1b" not in reported


def test_libraries_tell_warnings_only(written: Callable[..., Any]) -> None:
    file = written(level="debug")
    logging.getLogger("websockets.server").debug("< TEXT 'quokka'")
    logging.getLogger("hunyuanocr.test").debug("Ours.")
    logging.getLogger("websockets.server").warning("Odd.")
    assert [line.rpartition(": ")[2] for line in file.read_text().splitlines()] == ["Ours.", "Odd."]


def test_the_file_is_turned_over(written: Callable[..., Any]) -> None:
    file = written(file_mb=0.001, files=2)
    for n in range(100):
        logging.getLogger("hunyuanocr.test").info("line %d", n)
    assert sorted(f.name for f in file.parent.iterdir()) == ["box.log", "box.log.1", "box.log.2"]
    assert all(f.stat().st_size <= 1000 for f in file.parent.iterdir())


def test_a_file_that_cannot_be_written_is_reported(tmp_path: Path, written: Callable[..., Any]) -> None:
    (tmp_path / "folder").write_text("not a folder")
    with pytest.raises(ConfigError, match="cannot be written"):
        written()
