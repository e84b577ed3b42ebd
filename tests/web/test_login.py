"""The page on the network, from its first start on: the program, its printed link, and a real browser."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from tests.support.appliance import Appliance, appliance
from tests.web.test_page import ask, choose

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """As a person starts it for the phones of the shop."""
    data = tmp_path_factory.mktemp("box")
    with appliance("--host", "0.0.0.0", HUNYUANOCR_DATA=str(data), HUNYUANOCR_SECURITY__SESSION_HOURS="1") as running:
        running.until_ready()
        yield running


def printed(box: Appliance, pattern: str) -> Any:
    return re.search(pattern, "".join(box.printed))[1]


def test_the_first_start_prints_a_key_and_a_link_and_a_person_logs_in_and_out(
    box: Appliance, browser: Browser, receipt: bytes
) -> None:
    key = printed(box, r"shown only once: (hyo_\S+)")
    link = printed(box, r"valid once and for one hour: (http://\S+)")
    assert link.startswith(f"{box.page}/login?code=")
    context = browser.new_context(locale="zh-CN")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(box.page)
    assert page.url == f"{box.page}/login?next=/"
    page.fill("input[type=password]", "hyo_wrong")
    page.click("button")
    page.wait_for_selector("[role=alert]")
    page.goto(link)
    page.click("button")
    page.wait_for_selector("html[data-ready]")
    choose(page, receipt)
    ask(page, "提取总金额")
    assert page.text_content("#fields .value") == "¥36.80"
    cookie = {c["name"]: c["value"] for c in context.cookies()}["hunyuanocr_session"]
    with httpx.Client(base_url=box.api, headers={"X-API-Key": key}, timeout=60) as admin:
        (record,) = admin.get("/v1/records").json()["data"]
        assert (record["source"], record["instruction"], record["fields"]) == ("page", "提取总金额", {"total_amount": "¥36.80"})
        lines = admin.get("/v1/admin/audit", params={"what": record["id"]}).json()["data"]
        assert [(line["who"], line["action"]) for line in lines] == [("admin", "create")]
    page.click("#account a")
    page.click("text=退出登录")
    page.wait_for_selector("input[type=password]")
    page.goto(box.page)
    assert page.url == f"{box.page}/login?next=/"
    assert httpx.get(f"{box.page}/config", cookies={"hunyuanocr_session": cookie}, timeout=60).status_code == 401
    page.goto(link)
    page.click("button")
    page.wait_for_selector("[role=alert]")
    page.fill("input[type=password]", key)
    page.click("button")
    page.wait_for_selector("html[data-ready]")
    with httpx.Client(base_url=box.page, headers={"X-API-Key": key}, timeout=60) as greedy:
        for size in (16_000_000, 3_000_000, 100_000):
            while greedy.post("/page/uploads", content=bytes(size)).status_code == 200:
                pass
    choose(page, receipt)
    alert = page.locator("#notices [role=alert]")
    assert alert.get_attribute("data-code") == "uploads_full"
    assert "过一会儿" in alert.locator("span").text_content()
    context.close()


def test_without_a_key_nothing_of_the_page_is_given_out(box: Appliance) -> None:
    with httpx.Client(base_url=box.page, timeout=60) as nobody:
        pages = ("/config", "/theme.css", "/assets/index.js", "/docs/assets/swagger-ui.css")
        for path in (*pages, "/gradio_api/queue/data?session_hash=x", "/gradio_api/info", "/gradio_api/startup-events"):
            assert nobody.get(path).status_code == 401, path
        gradios = ("/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/component_server")
        for path in ("/page/uploads", *gradios):
            assert nobody.post(path, files={"files": b"x" * 1000}).status_code == 401, path
        assert nobody.get("/health").status_code == 200
