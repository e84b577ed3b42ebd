"""The box and another device of its network: two hosts, joined by a cable. What each of them is, is a network namespace.

The page, its routes, `/ocr` and the socket are tried from the other host without a key, with a wrong one and with the right one;
the printed link logs a browser in; and a device without a key is accepted by its address, another one is not.
"""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from hunyuanocr.loadtest.receipts import draw_text
from tests.support.appliance import Appliance, appliance

BOX, PHONE, SCANNER = "10.77.0.1", "10.77.0.2", "10.77.0.3"  # the last two are addresses of the same other host
CABLE = f"""
ip link add cable0 netns {{box}} type veth peer name cable1 netns {{other}}
nsenter -t {{box}} -n ip addr add {BOX}/24 dev cable0
nsenter -t {{other}} -n ip addr add {PHONE}/24 dev cable1
nsenter -t {{other}} -n ip addr add {SCANNER}/24 dev cable1
for host in "{{box}} cable0" "{{other}} cable1"; do
  set -- $host
  nsenter -t $1 -n ip link set lo up
  nsenter -t $1 -n ip link set $2 up
done
"""
PICTURE = draw_text(["TOTAL 36.80"])
FILE = {"file": PICTURE}
ASKED = {"instruction": "extract total", "response": "fields"}
TOTAL = "36.80"


@contextmanager
def namespace() -> Iterator[int]:
    """The process id of a host of its own. It is gone with that process, and that one with us, whatever ends us."""
    holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo up; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"up\n"
        yield holder.pid
    finally:
        holder.communicate(timeout=10)


def join(box: Any, other: int) -> None:
    subprocess.run(["sh", "-ec", CABLE.format(box=box, other=other)], check=True, capture_output=True)


def can_join_hosts() -> bool:
    """Whether two namespaces and a cable between them can be made here, tried out."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        return False
    try:
        with namespace() as box, namespace() as other:
            join(box, other)
            return True
    except (AssertionError, subprocess.CalledProcessError):
        return False


pytestmark = [
    pytest.mark.netns,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not can_join_hosts(),
        reason="needs root with CAP_SYS_ADMIN and CAP_NET_ADMIN, unshare, nsenter and ip (apt install util-linux iproute2), "
        "and the kernel's veth; in a container: docker run --privileged",
    ),
]


class Host:
    """Whoever sits at a host: what is asked through it goes out of its network card."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._thread = ThreadPoolExecutor(1, initializer=self._move)  # a thread may be in another network than its process

    def _move(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/proc/{self.pid}/ns/net").open() as network:
            if libc.setns(network.fileno(), 0):
                raise OSError(ctypes.get_errno(), "setns")

    def __call__(self, ask: Any, *arguments: Any, **more: Any) -> Any:
        return self._thread.submit(ask, *arguments, **more).result(120)

    def leave(self) -> None:
        self._thread.shutdown()


@pytest.fixture(scope="module")
def hosts() -> Iterator[Any]:
    """The box's process id and the other host."""
    with namespace() as box, namespace() as other:
        join(box, other)
        phone = Host(other)
        yield box, phone
        phone.leave()


@contextmanager
def started(hosts: Any, *flags: Any, **environment: Any) -> Iterator[Appliance]:
    """The real program in the box, listening on its address in the network, ready."""
    box, phone = hosts
    program = ("nsenter", "-t", str(box), "-n", sys.executable, "app_web.py")
    with appliance("--host", BOX, *flags, program=program, **environment) as running:
        end = time.monotonic() + 180
        while phone(httpx.get, f"{running.api}/ready", timeout=60).status_code != 200:
            assert time.monotonic() < end, "".join(running.printed)
            time.sleep(0.2)
        yield running


@pytest.fixture(scope="module")
def served(hosts: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Its first start, with nothing said about who may come in. It would not stand so many wrong keys as come here."""
    uncounted = {"HUNYUANOCR_NETWORK__AUTH_FAILURES_PER_MINUTE": "0", "HUNYUANOCR_NETWORK__REQUESTS_PER_MINUTE_PER_IP": "0"}
    with started(hosts, HUNYUANOCR_DATA=str(tmp_path_factory.mktemp("box")), **uncounted) as running:
        yield running


@pytest.fixture
def key(served: Appliance) -> Any:
    return re.search(r"shown only once: (hyo_\S+)", "".join(served.printed))[1]


@pytest.fixture
def link(served: Appliance) -> Any:
    return re.search(r"valid once and for one hour: (http://\S+)", "".join(served.printed))[1]


@pytest.fixture
def phone(hosts: Any) -> Any:
    return hosts[1]


GETS = (
    "/",
    "/config",
    "/theme.css",
    "/docs",
    "/v1/records",
    "/v1/admin/keys",
    "/metrics",
    "/gradio_api/queue/data?session_hash=x",
    "/gradio_api/heartbeat/x",
    "/gradio_api/app_id",
    "/gradio_api/info",
    "/gradio_api/file=/etc/passwd",
)
POSTS = ("/ocr", "/v1/ocr", "/v1/jobs", "/page/uploads", "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/run/read")


def visit(base: Any, headers: Any) -> dict[str, int]:
    """What every door answers to somebody with these headers."""
    answers = {}
    with httpx.Client(base_url=base, headers=headers, timeout=60) as client:
        requests: list[tuple[str, str, Any]] = [
            *(("GET", path, {}) for path in GETS),
            *(("POST", path, {"files": FILE}) for path in POSTS),
        ]
        for method, path, sent in requests:
            with client.stream(method, path, **sent) as answer:  # where somebody is let in, some never end
                answers[path] = answer.status_code
    return answers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "hyo_0123456789ab_wrong"},
        {"Authorization": "Bearer wrong"},
        {"Cookie": "hunyuanocr_session=e30.e30"},
        {"X-Forwarded-For": "127.0.0.1"},
    ],
    ids=["none", "wrong key", "wrong token", "forged cookie", "spoofed address"],
)
def test_without_a_good_key_every_door_is_shut(served: Appliance, phone: Any, headers: dict[str, Any]) -> None:
    assert set(phone(visit, served.page, headers).values()) == {401}
    html = phone(httpx.get, served.page, headers={"Accept": "text/html"}, timeout=60)
    assert (html.status_code, html.headers["location"]) == (303, "/login?next=/")


def converse(url: Any, key: Any, headers: Any) -> Any:
    """How a socket ends after its first message: a close code, or the status of the refused handshake; or that it stays open."""
    try:
        with connect(url, additional_headers=headers, open_timeout=60) as socket:
            socket.send(json.dumps({"type": "auth", "key": key} if key else {"type": "ping"}))
            try:
                if json.loads(socket.recv(60))["type"] == "authenticated":
                    socket.send(json.dumps({"type": "ping"}))
                    return "open" if json.loads(socket.recv(60))["type"] == "pong" else "odd"
                return socket.recv(60)
            except ConnectionClosed as e:
                return e.rcvd.code
    except InvalidStatus as e:
        return e.response.status_code


def test_the_socket_wants_a_key_too(served: Appliance, phone: Any, key: Any) -> None:
    url = served.page.replace("http", "ws") + "/ws/ocr"
    assert phone(converse, url, None, {}) == 3000
    assert phone(converse, url, "hyo_wrong", {}) == 3000
    assert phone(converse, url, None, {"X-API-Key": "wrong"}) == 401
    assert phone(converse, url, key, {}) == "open"


def through_the_page(base: Any, key: Any) -> Any:
    """Log in, send a picture, have it read: what the page's script does. The answers, and what the page shows in the end."""
    with httpx.Client(base_url=base, timeout=120) as browser:
        login = browser.post("/login", data={"key": key})
        if login.status_code != 303:
            return login.status_code, ""
        known = browser.get("/config").json()["dependencies"]
        events = {target[1]: event["id"] for event in known for target in event["targets"]}
        token = browser.post("/page/uploads", content=PICTURE).json()["token"]
        shown = ""
        for what, data, about in (("picked", [None, "en"], {"token": token}), ("click", [None, "extract total", "en"], None)):
            event = {"fn_index": events[what], "data": data, "event_data": about, "session_hash": "phone"}
            browser.post("/gradio_api/queue/join", json=event).raise_for_status()
            shown = browser.get("/gradio_api/queue/data", params={"session_hash": "phone"}).text
        return login.status_code, shown


def test_with_the_key_a_picture_is_read_through_the_page_and_the_api(served: Appliance, phone: Any, key: Any) -> None:
    status, shown = phone(through_the_page, served.page, key)
    assert status == 303
    assert TOTAL in shown
    assert phone(through_the_page, served.page, "hyo_wrong") == (401, "")
    for base in (served.page, served.api):
        sent: dict[str, Any] = {"files": FILE, "data": ASKED, "headers": {"X-API-Key": key}, "timeout": 120}
        answer = phone(httpx.post, f"{base}/ocr", **sent)
        assert (answer.status_code, TOTAL in answer.json()["total_amount"]) == (200, True)
    lines = phone(httpx.get, f"{served.api}/v1/admin/audit?most=100", headers={"X-API-Key": key}, timeout=60).json()["data"]
    made = [line for line in lines if line["action"] == "create" and line["status"] == 200]
    assert {(line["who"], line["address"]) for line in made} == {("admin", PHONE)}


@pytest.fixture
def chromium(phone: Any, tmp_path: Path) -> Iterator[Browser]:
    """A browser of the other host."""
    from tests.web.conftest import ARGUMENTS, CHROMIUM

    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (apt install chromium)")
    from playwright.sync_api import sync_playwright

    there = tmp_path / "chromium-there"
    there.write_text(f'#!/bin/sh\nexec nsenter -t {phone.pid} -n {CHROMIUM} "$@"\n')
    there.chmod(0o755)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=there, args=ARGUMENTS, timeout=120_000)
        yield running
        running.close()


@pytest.mark.browser
def test_the_printed_link_logs_a_browser_in_once(served: Appliance, phone: Any, link: Any, chromium: Browser) -> None:
    assert link.startswith(f"http://{BOX}:")
    page = chromium.new_page(locale="en-US")
    page.set_default_timeout(60_000)
    page.goto(served.page)
    assert page.url == f"{served.page}/login?next=/"
    page.goto(link)
    page.click("button")
    page.wait_for_selector("html[data-ready]")
    page.set_input_files("#picker .file input", {"name": "a.png", "mimeType": "image/png", "buffer": PICTURE})
    page.wait_for_selector("#picture img")
    page.fill("#instruction input", "extract total amount")
    page.press("#instruction input", "Enter")
    assert TOTAL in page.text_content("#fields .value")
    code = link.partition("code=")[2]
    again = phone(httpx.post, f"{served.page}/login", data={"code": code}, timeout=60)
    assert (again.status_code, "set-cookie" in again.headers) == (401, False)


def test_a_device_without_a_key_is_let_in_by_its_address_and_another_is_not(hosts: Any, phone: Any, tmp_path: Path) -> None:
    def read(base: Any, address: Any) -> Any:
        with httpx.Client(base_url=base, transport=httpx.HTTPTransport(local_address=address), timeout=120) as device:
            answer = device.post("/ocr", files=FILE, data=ASKED)
            return answer.status_code, answer.json(), device.get("/v1/admin/keys").status_code

    devices = json.dumps([SCANNER])
    with started(hosts, "--no-page", HUNYUANOCR_DATA=str(tmp_path), HUNYUANOCR_SECURITY__DEVICES=devices) as running:
        status, fields, admin = phone(read, running.api, SCANNER)
        assert (status, TOTAL in fields["total_amount"], admin) == (200, True, 403)
        status, refused, admin = phone(read, running.api, PHONE)
        assert (status, refused["code"], admin) == (401, "unauthorized", 401)
