"""A browser before the running appliance, and a receipt to show it."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Browser, Page

from tests.support.appliance import Appliance, appliance

CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(p).exists()), None)
FONT = next(
    (
        p
        for p in (
            "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
            "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
        )
        if Path(p).exists()
    ),
    None,
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP shop.test 127.0.0.1",
]


@pytest.fixture(scope="session")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The only place where the appliance may put temporary files."""
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="session")
def served(uploads: Path) -> Iterator[Appliance]:
    with appliance(TMPDIR=str(uploads)) as running:
        running.until_ready()
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=120_000)
        yield running
        running.close()


@pytest.fixture
def visit(browser: Browser, served: Appliance) -> Iterator[Callable[..., Any]]:
    """Opens the page in a new browser session; afterwards nothing may have been asked of anyone but the appliance."""
    contexts, hosts, complaints = [], set(), []

    def opened(host: str = "127.0.0.1", **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "locale": "zh-CN"} | options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda r: hosts.add(r.url.split("/")[2]) if r.url.startswith(("http", "ws")) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Security Policy" in said.text else None)
        page.goto(served.page.replace("127.0.0.1", host))
        page.wait_for_selector("html[data-ready]")
        return page

    yield opened
    for context in contexts:
        context.close()
    port = served.page.rsplit(":", 1)[1]
    assert hosts <= {f"127.0.0.1:{port}", f"shop.test:{port}"}, "the page asked someone else"
    assert complaints == []


@pytest.fixture(scope="session")
def receipt() -> bytes:
    """A Chinese receipt as JPEG bytes."""
    if FONT is None:
        pytest.skip("no Chinese font is installed (apt install fonts-noto-cjk)")
    return jpeg(drawn(["便民超市", "日期：2026-11-20", "矿泉水  9.00", "面包  27.80", "合计：¥36.80"]))


def drawn(lines: list[Any]) -> Any:
    image = Image.new("RGB", (640, 130 + 90 * len(lines)), (250, 250, 246))
    pen, font = ImageDraw.Draw(image), ImageFont.truetype(FONT, 44)
    for n, line in enumerate(lines):
        pen.text((60, 60 + 90 * n), line, font=font, fill=(20, 20, 20))
    return image


def jpeg(image: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92)
    return out.getvalue()


def files_in(folder: Path) -> list[Any]:
    """Every file below a folder, empty ones too."""
    return [path for path in folder.rglob("*") if not path.is_dir()]
