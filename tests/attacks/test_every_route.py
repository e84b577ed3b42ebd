"""The standing attack: every route, mount and WebSocket of the running program gets hostile values, and the program stays well.

It answers within 2 s, never with 500 or 502; with 503 and 504 only where it says when to come back; /health answers meanwhile;
nothing outside the data folder is opened for the request, and nothing is contacted.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from api.app import create_app
from hunyuanocr.config import Settings
from hunyuanocr.pipeline import Pipeline
from tests.attacks import tracing, values
from tests.attacks.requests import Arsenal, Attack, sampled
from tests.attacks.target import Health, Target, attacked
from tests.support.appliance import ROOT
from tests.support.fake_backend import FakeBackend
from tests.support.route_walker import routes_of
from web.app import mount_page

ANSWER_S = 2.0
CLIENTS = 4  # at a time
IMAGE_ROUTES = ("/ocr", "/v1/jobs", "/v1/batch", "/v1/chat/completions", "/page/uploads")
# Loading another model takes as long as it takes, and its folder may be anywhere: only an administrator names it.
LOADS_A_MODEL = "/v1/admin/model"
LOAD_S = 60.0  # for a new reader, on a machine that does other things too
SYSTEM_FILES = (
    "/usr/",
    "/lib",
    "/proc",
    "/sys/",
    "/dev/null",
    "/dev/urandom",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl/",
    "/etc/fonts/",
    "/etc/os-release",
    "/etc/nsswitch.conf",
)


@pytest.fixture(scope="module")
def routes() -> list[tuple[str, str]]:
    """(method, path) of everything that is served, the page's routes too."""

    async def walk() -> list[tuple[str, str]]:
        settings = Settings()
        pipeline = Pipeline(FakeBackend(), settings)
        app = create_app(settings, pipeline)
        async with mount_page(app, pipeline, settings).router.lifespan_context(app):
            return sorted({(method, path.removesuffix("/") or "/") for method, path in routes_of(app.routes)})

    return asyncio.run(walk())


@dataclass
class Outcome:
    """What went wrong, and how often it was asked."""

    faults: dict[tuple[str, str], str] = field(default_factory=dict)  # (kind, route) → the first of its kind
    asked: int = 0
    statuses: dict[int, int] = field(default_factory=dict)

    def fault(self, kind: str, route: str, details: str) -> None:
        """Note a fault; one of each kind and route is enough to find it."""
        self.faults.setdefault((kind, route.partition("?")[0][:100]), details)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One program for all tests of this file."""
    with attacked(tmp_path_factory.mktemp("attacked")) as running:
        yield running


async def strike(target: Target, attacks: list[Attack], clients: int = CLIENTS) -> Outcome:
    """Send all attacks, `clients` at a time, and judge each answer."""
    outcome, waiting = Outcome(), iter(attacks)

    async def client() -> None:
        limits = httpx.Limits(max_keepalive_connections=1)
        async with httpx.AsyncClient(base_url=target.program.page, timeout=ANSWER_S * 4, limits=limits) as http:
            for attack in waiting:
                await _judge(http, attack, target.headers, outcome)

    await asyncio.gather(*(client() for _ in range(clients)))
    return outcome


async def _judge(http: httpx.AsyncClient, attack: Attack, key: dict[str, str], outcome: Outcome) -> None:
    began = time.perf_counter()
    route, what = f"{attack.method} {attack.path}", f"{attack.path[:200]} {attack.label}"
    try:
        seconds = LOAD_S if attack.path.startswith(LOADS_A_MODEL) else ANSWER_S * 4
        sent = http.stream(attack.method, attack.path, headers=key | attack.headers, content=attack.body, timeout=seconds)
        async with sent as answer:
            took = time.perf_counter() - began
            body = b"" if "event-stream" in answer.headers.get("content-type", "") else await answer.aread()
    except httpx.ReadError:
        return  # refused while the body was still being sent: the connection ends, as HTTP/1.1 permits
    except httpx.TimeoutException:
        outcome.fault("no answer", route, what)
        return
    except (httpx.LocalProtocolError, httpx.InvalidURL):
        return  # this client cannot even send it
    except httpx.RemoteProtocolError as e:
        if attack.body:
            return
        outcome.fault(f"no HTTP answer: {e}", route, what)
        return
    outcome.asked += 1
    status = answer.status_code
    outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
    if status in (500, 502) or (status in (503, 504) and not ("retry-after" in answer.headers and b'"code"' in body)):
        outcome.fault(f"{status} {body[:200]!r}", route, what)
    if took > ANSWER_S and not attack.path.startswith(LOADS_A_MODEL):
        outcome.fault("late", route, f"{took:.1f} s: {what}")


def arsenal(target: Target, *, large: bool = False) -> Arsenal:
    openapi = httpx.get(f"{target.program.page}/openapi.json", headers=target.headers, timeout=60).json()
    return Arsenal(openapi, str(target.canary), target.listener, large=large)


def attacks_on(target: Target, routes: list[tuple[str, str]], each: int, seed: int, *, large: bool = False) -> list[Attack]:
    """`each` attacks on every route, in mixed order."""
    source, made = random.Random(seed), arsenal(target, large=large)
    found: list[Attack] = []
    for method, route in routes:
        if method != "WS":
            drawn = sampled(made.attacks(method, route), each if method not in ("HEAD", "OPTIONS") else 1, source)
            found += [attack for build in drawn if may_send(target, attack := build())]
    source.shuffle(found)
    return found


def may_send(target: Target, attack: Attack) -> bool:
    """Whether it is an attack: an administrator may name any folder as a model's."""
    named = any(path.encode() in attack.body for path in (str(target.canary), *values.FOREIGN_PATHS))
    return not attack.path.startswith(LOADS_A_MODEL) or not named


def assert_well(target: Target, outcome: Outcome, health: Health) -> None:
    assert outcome.faults == {}
    assert health.failed == []
    assert max(health.seconds) < 1.0
    assert len(health.late()) <= 2 + len(health.seconds) / 100, health.late()  # other tests use the machine too
    assert target.contacted == []
    ready = httpx.get(f"{target.program.page}/ready", timeout=10)
    assert ready.status_code == 200, ready.text
    read = httpx.post(
        f"{target.program.page}/ocr", headers=target.headers, files={"file": ("a.png", values.tiny_picture())}, timeout=60
    )
    assert read.status_code == 200, read.text


def test_a_sample_of_all_attacks(target: Target, routes: list[tuple[str, str]]) -> None:
    attacks = attacks_on(target, routes, each=6, seed=14)
    assert len({a.path.partition("?")[0] for a in attacks}) > 60, "the walk met the API's routes and the page's"
    with Health(target.program.api) as health:
        outcome = asyncio.run(strike(target, attacks))
    assert outcome.asked > 0.8 * len(attacks)
    assert {200, 400, 404, 422} <= outcome.statuses.keys(), outcome.statuses
    assert_well(target, outcome, health)


@pytest.mark.parametrize("routes_each", [1, pytest.param(len(IMAGE_ROUTES), marks=pytest.mark.long)])
def test_every_hostile_file_at_routes_that_take_pictures(target: Target, routes_each: int) -> None:
    """The ordinary suite sends each file to one of the routes, in turn; the long one sends each to all of them."""
    made = arsenal(target)
    built = [list(made.files("POST", path)) for path in IMAGE_ROUTES]
    attacks = [
        files[n]() for n in range(len(built[0])) for at, files in enumerate(built) if (at - n) % len(IMAGE_ROUTES) < routes_each
    ]
    with Health(target.program.api) as health:
        outcome = asyncio.run(strike(target, attacks, clients=1))  # one client's documents are drawn one after the other
    assert outcome.asked > 0.8 * len(attacks)
    assert_well(target, outcome, health)


def test_a_name_that_no_file_has_is_404(target: Target) -> None:
    for length in (255, 256, 5000):
        assert httpx.get(f"{target.program.page}/static/{'9' * length}", headers=target.headers, timeout=10).status_code == 404


@pytest.mark.parametrize("path", ["/", "/config", "/login", "/docs", "/openapi.json"])
def test_no_page_is_built_of_a_host_that_the_client_makes_up(target: Target, path: str) -> None:
    for name in ("X-Forwarded-Host", "Forwarded", "Host"):
        for text in ('{"a":{"a":', "host=evil.example", "evil.example", "[::1"):
            answer = httpx.get(f"{target.program.page}{path}", headers=target.headers | {name: text}, timeout=10)
            assert answer.status_code < 500, f"{name}: {text}: {answer.text[:200]}"
            assert name == "Host" or "evil.example" not in answer.text


def test_a_sample_of_messages_to_each_socket(target: Target, routes: list[tuple[str, str]]) -> None:
    paths = [route for method, route in routes if method == "WS"]
    assert {"/v1/ws", "/ws/ocr"} <= set(paths)
    messages = sampled(arsenal(target).messages(), 60, random.Random(15))
    with Health(target.program.api) as health:
        outcome = asyncio.run(_flood_sockets(target, paths, messages))
    assert outcome.asked >= len(paths) * 10
    assert_well(target, outcome, health)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_all_attacks(target: Target, routes: list[tuple[str, str]]) -> None:
    attacks = attacks_on(target, routes, each=150, seed=int(time.time()), large=True)
    messages = list(arsenal(target, large=True).messages())
    with Health(target.program.api) as health:
        outcome = asyncio.run(strike(target, attacks))
        sockets = asyncio.run(_flood_sockets(target, [route for method, route in routes if method == "WS"], messages))
    outcome.faults |= sockets.faults
    assert_well(target, outcome, health)


async def _flood_sockets(target: Target, paths: list[str], messages: list[str | bytes]) -> Outcome:
    outcome = Outcome()
    address = target.program.page.replace("http://", "ws://")
    for path in paths:
        waiting = iter(messages)
        for message in waiting:
            async with websockets.connect(address + path, additional_headers=target.headers, max_size=None) as ws:
                await _converse(ws, message, waiting, outcome, path)
    return outcome


async def _converse(
    ws: ClientConnection, message: str | bytes, waiting: Iterator[str | bytes], outcome: Outcome, path: str
) -> None:
    """Send messages on one connection until it is closed; a ping must be answered after each."""
    while message is not None:
        began = time.perf_counter()
        try:
            await ws.send(message)
            await ws.send('{"type": "ping"}')
            async with asyncio.timeout(ANSWER_S * 4):
                while '"pong"' not in await ws.recv():
                    pass
        except websockets.ConnectionClosed:
            return
        except TimeoutError:
            outcome.fault("no answer", path, repr(message[:200]))
            return
        outcome.asked += 1
        if time.perf_counter() - began > ANSWER_S:
            outcome.fault("late", path, f"{time.perf_counter() - began:.1f} s: {message[:200]!r}")
        message = next(waiting, None)


def test_nothing_was_opened_or_contacted(target: Target) -> None:
    """The last test of this file: it judges what the attacks before it made the program do."""
    if target.trace is None:
        pytest.skip(f"needs a trace of the program: {tracing.missing()}")
    started = tracing.calls(target.trace)
    assert any(str(target.data) in path for call in started for path in call.paths), "the trace sees what the program opens"
    calls = tracing.calls(target.trace, target.traced_from)
    assert {c.contacts for c in calls if c.contacts} == set()
    opened = {(call.name, path) for call in calls if call.name not in ("connect", "execve") for path in call.paths}
    foreign = {*values.FOREIGN_PATHS, str(target.canary)}
    assert {(name, path) for name, path in opened if any(path.startswith(p) for p in foreign)} == set()
    written = {path for call in calls if call.writes for path in call.paths if path.startswith("/")}
    assert {path for path in written if not _may_write(path, target)} == set()
    loads = [call for call in calls if call.name in ("openat", "open") and not call.writes]
    read = {path for call in loads for path in call.paths if path.startswith("/")}
    places = (str(ROOT), sys.prefix, sys.base_prefix, str(target.data), *SYSTEM_FILES)
    assert {path for path in read if not path.startswith(places)} == set()


def _may_write(path: str, target: Target) -> bool:
    compiled = path.endswith((".pyc", "__pycache__")) or ".pyc." in path
    return compiled or path.startswith((str(target.data), "/dev/null", "/dev/shm/", "/proc/self/"))


def test_the_trace_tells_a_forbidden_file(tmp_path: Path) -> None:
    """The counter-case: a program that opens what it must not is found, and so is one that contacts another machine."""
    if why := tracing.missing():
        pytest.skip(why)
    code = "import socket, sys; open('/etc/passwd'); open(sys.argv[1], 'w'); s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
    log, stray = tmp_path / "trace", tmp_path / "stray"
    command = [*tracing.traced(log)[:-1], "-c", f"{code}; s.connect(('192.0.2.1', 9))", str(stray)]
    subprocess.run([part for part in command if part != "-D"], check=True, timeout=60)  # with -D strace may end after the program
    found = tracing.calls(log)
    assert any(call.paths == ("/etc/passwd",) and not call.writes for call in found)
    assert any(call.paths == (str(stray),) and call.writes for call in found)
    assert {call.contacts for call in found} == {None, "192.0.2.1"}
