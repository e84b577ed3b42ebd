"""The page's own doors: whose uploads, events and results they are, how many bytes may wait, and what of Gradio is not served."""

import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.log_setup import JsonFormatter
from hunyuanocr.services.api_keys import ALL_SCOPES
from tests.api.auth.conftest import AWAY, Build, code
from tests.support.fake_backend import picture

PICTURE = picture(size=(400, 300))


class OpenPage:
    """A page in a browser: the word that it has made up, and its client."""

    def __init__(self, client: Any, word: str = "j9nvk9ct33") -> None:
        self.client, self.word = client, word

    async def numbers(self) -> dict[Any, Any]:
        events = (await self.client.get("/config")).json()["dependencies"]
        return {target[1]: event["id"] for event in events for target in event["targets"]}

    async def upload(self, data: bytes = PICTURE) -> Any:
        return await self.client.post("/page/uploads", content=data)

    async def join(self, what: Any, data: list[str | None], **about: Any) -> Any:
        number = (await self.numbers())[what]
        event = {"data": data, "fn_index": number, "session_hash": self.word, "event_data": about or None}
        return await self.client.post("/gradio_api/queue/join", json=event)

    async def events(self) -> list[Any]:
        """What has happened: everything that the event stream tells, up to its end."""
        answer = await self.client.get("/gradio_api/queue/data", params={"session_hash": self.word})
        return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]

    async def does(self, what: str, data: list[Any], **about: Any) -> str:
        """Join, and what came of it, as text."""
        assert (await self.join(what, data, **about)).status_code == 200
        return came(await self.events())


def came(events: Any) -> str:
    return json.dumps([event["output"] for event in events if event["msg"] == "process_completed"], ensure_ascii=False)


@pytest.fixture
async def shop(build: Build) -> AsyncIterator[Any]:
    """An appliance with its page, and pages of two people that say the same word."""
    running_app = await build(
        page=True,
        **AWAY,
        images={"max_bytes": 60_000},
        network={"requests_per_minute_per_ip": 0, "requests_per_minute_per_key": 0},
    )
    for name in ("clinic", "shop", "third"):
        running_app.key(name)
    running_app.key("admin", ALL_SCOPES, "local")
    running_app.key("nurse", owner="clinic")
    running_app.app.state.pipeline.backend.text = "合计 ¥36.80"
    clients = {name: running_app.client(name) for name in running_app.keys}
    yield running_app, {name: OpenPage(client) for name, client in clients.items()}
    for client in clients.values():
        await client.aclose()


async def test_the_page_recognises_an_image_without_writing_it_to_disk(
    shop: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _, pages = shop
    token = (await pages["clinic"].upload()).json()["token"]
    assert "<img" in await pages["clinic"].does("picked", [None, "zh"], token=token)
    assert "¥36.80" in await pages["clinic"].does("click", [None, "提取总金额", "zh"])
    assert "<img" not in await pages["clinic"].does("picked", [None, "zh"], token=token), "an upload is taken once"
    assert [path for path in Path(tmp_path).rglob("*") if not path.is_dir()] == []


async def test_page_responses_are_not_cached(shop: Any) -> None:
    _, pages = shop
    answers = [await pages["shop"].upload(), await pages["shop"].client.get("/gradio_api/app_id")]
    assert [answer.headers["cache-control"] for answer in answers] == ["no-store"] * 2


@pytest.mark.parametrize("who", ["shop", "nurse", "admin"])  # nurse: another key of the same owner
async def test_a_page_session_cannot_be_used_by_another_identity(shop: Any, who: str) -> None:
    _, pages = shop
    mine, thief = pages["clinic"], pages[who]
    token = (await mine.upload()).json()["token"]
    assert (await mine.join("picked", [None, "en"], token=token)).status_code == 200
    assert [event["msg"] for event in await thief.events()] == ["unexpected_error"]
    assert "<img" in came(await mine.events()), "nobody has taken it away"
    token = (await mine.upload()).json()["token"]
    assert "empty_input" in await thief.does("picked", [None, "en"], token=token)
    assert "<img" in await mine.does("picked", [None, "en"], token=token)
    assert "no_picture" in await thief.does("click", [None, "read all", "en"])
    assert "¥36.80" in await mine.does("click", [None, "extract total amount", "en"])
    assert "¥36.80" not in await thief.does("input", [None, "en"]), "the last result is not shown in another language either"
    assert "¥36.80" in await mine.does("input", [None, "en"])


async def test_key_and_login_have_the_same_identity(shop: Any) -> None:
    running_app, pages = shop
    token = (await pages["clinic"].upload()).json()["token"]
    async with running_app.client() as browser:
        assert (await browser.post("/login", data={"key": running_app.keys["clinic"]})).status_code == 303
        assert "<img" in await OpenPage(browser).does("picked", [None, "en"], token=token)


async def test_one_identity_cannot_use_the_whole_upload_memory(shop: Any) -> None:
    _, pages = shop
    large = bytes(60_000)
    answers = [await pages["shop"].upload(large) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert code(answers[1]) == (429, "uploads_full")
    assert int(answers[1].headers["retry-after"]) > 0
    assert (await pages["clinic"].upload(large)).status_code == 200
    while (await pages["clinic"].upload(b"x")).status_code == 200:
        pass
    while (await pages["shop"].upload(b"x")).status_code == 200:
        pass
    assert code(await pages["third"].upload()) == (429, "uploads_full"), "all of them together have a bound too"


async def test_invalid_uploads_are_rejected(shop: Any) -> None:
    _, pages = shop
    assert code(await pages["clinic"].upload(bytes(60_001))) == (413, "image_too_large")
    assert code(await pages["clinic"].upload(b"")) == (400, "empty_input")
    for token in ("", "guess", None, 1):
        assert "empty_input" in await pages["clinic"].does("picked", [None, "en"], token=token), token


async def test_forged_gradio_events_are_rejected(shop: Any) -> None:
    _, pages = shop
    client, join, events = pages["clinic"].client, "/gradio_api/queue/join", "/gradio_api/queue/data"
    for word in (None, "", 1, "a" * 65, "../x", "a.b", ["a"], "é"):
        assert code(await client.post(join, json={"data": [], "fn_index": 0, "session_hash": word})) == (400, "bad_request"), word
    for body in (b"", b"[]", b"{", b"[" * 100_000, b"\xff"):
        assert code(await client.post(join, content=body)) == (400, "bad_request"), body[:9]
    assert code(await client.post(join, content=bytes(1_100_000)))[0] == 413
    for query in ("", "session_hash=", "session_hash=a&session_hash=b", "session_hash=a.b"):
        assert code(await client.get(f"{events}?{query}")) == (400, "bad_request"), query
    assert code(await client.get("/gradio_api/heartbeat/a.b")) == (400, "bad_request")


CLOSED = (
    ("GET", "file=/etc/passwd"),
    ("GET", "file/x"),
    ("POST", "upload"),
    ("GET", "upload_progress?upload_id=a"),
    ("POST", "run/read"),
    ("POST", "api/read"),
    ("POST", "call/read"),
    ("POST", "call/v2/read"),
    ("GET", "call/read/a"),
    ("POST", "cancel"),
    ("POST", "reset"),
    ("POST", "component_server"),
    ("GET", "proxy=http://a.test"),
    ("GET", "info"),
    ("GET", "queue/status"),
    ("POST", "stream/a"),
    ("GET", "stream/a/b/1/playlist-file"),
    ("GET", "deep_link?session_hash=a"),
    ("GET", "queue/data/"),
    ("POST", "queue/join/"),
    ("POST", "process_recording"),
    ("POST", "vibe-edit"),
    ("GET", "startup-events"),
    ("GET", "token"),
    ("GET", ""),
)


async def test_unused_gradio_routes_are_blocked(shop: Any) -> None:
    _, pages = shop
    for method, path in CLOSED:
        files = {"files": PICTURE} if method == "POST" else None
        answer = await pages["admin"].client.request(method, f"/gradio_api/{path}", files=files)
        assert code(answer) == (404, "not_found"), path
        assert (await pages["clinic"].client.request(method, f"/gradio_api/{path}", files=files)).status_code == 403, path
    assert (await pages["clinic"].client.get("/gradio_api/app_id")).status_code == 200


async def test_user_input_is_not_logged_when_an_event_fails(
    shop: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    _, pages = shop
    reported = await pages["clinic"].does("click", [None, "a note about Mrs Canary", "no language: Canary"])
    assert "¥" not in reported
    assert "Canary" not in "".join(capfd.readouterr())
    failed = [record for record in caplog.records if record.name == "web.gradio_logging"]
    assert failed, "the failure is reported"
    assert "Canary" not in "".join(JsonFormatter().format(record) for record in failed)
