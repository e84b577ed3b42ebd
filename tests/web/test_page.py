"""The page in a real browser, with the real reader behind it."""

import base64
import io
import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.support.appliance import Appliance
from tests.web.conftest import drawn, files_in, jpeg

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}


STILL = """async () => {
  const place = () => document.querySelector("#picture .sheet").getBoundingClientRect().top;
  for (let last = NaN, same = 0; same < 12; ) {
    await new Promise((done) => setTimeout(done, 25));
    same = place() === last ? same + 1 : 0;
    last = place();
  }
}"""


def choose(page: Any, data: bytes, name: str = "a.jpg", mime: str = "image/jpeg", way: str = "file") -> None:
    page.set_input_files(f"#picker .{way} input", {"name": name, "mimeType": mime, "buffer": data})
    page.wait_for_selector("#picture img, #notices [role=alert]")


def ask(page: Any, words: str) -> None:
    page.fill("#instruction input", words)
    page.press("#instruction input", "Enter")
    page.wait_for_selector("#fields table, #text pre, #notices [role=alert]")


def answer(page: Any) -> Any:
    page.get_by_role("tab", name="JSON").click()
    return json.loads(page.text_content("#json pre"))


def red(page: Any) -> Any:
    """Where the picture on the screen is as red as a chosen box: a mask [h, w] over the shown page."""
    page.evaluate(STILL)  # the pane scrolls smoothly
    shot = Image.open(io.BytesIO(page.locator("#picture .sheet").screenshot())).convert("RGB")
    r, g, b = np.asarray(shot).astype(int).transpose(2, 0, 1)
    return (r - g > 60) & (r - b > 40), shot.size


def test_a_receipt_is_read_and_the_total_is_marked(
    visit: Callable[..., Any], served: Appliance, receipt: bytes, uploads: Path
) -> None:
    page = visit()
    choose(page, receipt)
    ask(page, "提取总金额")
    row = page.locator("#fields tr[data-field]")
    assert row.count() == 1
    assert row.locator(".value").text_content() == "¥36.80"
    assert "36.80" in row.locator(".normalized").text_content()
    assert row.locator(".proof").text_content() == "图上有"
    assert row.get_attribute("aria-pressed") == "true"
    mask, (width, height) = red(page)
    result = answer(page)
    assert result["fields"] == {"total_amount": "¥36.80"}
    box = result["details"]["total_amount"]["box"]
    points = page.get_attribute("#picture .mark.on", "points")
    assert [[float(n) for n in p.split(",")] for p in points.split(" ")] == box
    left, top = (min(p[i] for p in box) / result[side] for i, side in ((0, "width"), (1, "height")))
    right, bottom = (max(p[i] for p in box) / result[side] for i, side in ((0, "width"), (1, "height")))
    rows, columns = np.nonzero(mask)
    assert mask.sum() > 500, "the chosen box is seen"
    assert abs(columns.min() / width - left) < 0.02
    assert abs(columns.max() / width - right) < 0.02
    assert abs(rows.min() / height - top) < 0.02
    assert abs(rows.max() / height - bottom) < 0.02
    assert files_in(uploads) == [], "no file of the upload remains"


def test_choosing_a_row_marks_its_box(visit: Callable[..., Any], receipt: bytes) -> None:
    page = visit()
    choose(page, receipt)
    ask(page, "提取商户、日期和总金额")
    assert page.locator("#fields tr[data-field]").count() == 3
    before = red(page)[0]
    page.click("#fields tr[data-field='2']")
    assert page.locator(".mark.on").get_attribute("data-box") == "2"
    assert page.locator("tr[aria-pressed=true]").get_attribute("data-field") == "2"
    after = red(page)[0]
    assert np.nonzero(after)[0].mean() > np.nonzero(before)[0].mean() + 100, "the mark went down to the total"
    page.focus("#fields tr[data-field='1']")
    page.keyboard.press("Enter")
    assert page.locator(".mark.on").get_attribute("data-box") == "1"
    page.locator(".mark[data-box='0']").click()
    assert page.locator("tr[aria-pressed=true]").get_attribute("data-field") == "0", "and the other way round"


def test_a_tap_on_a_preset_reads(visit: Callable[..., Any], receipt: bytes) -> None:
    page = visit()
    choose(page, receipt)
    page.click("#presets button >> text=识别全部文字")
    page.wait_for_selector("#text pre")
    assert page.input_value("#instruction input") == "识别全部文字"
    assert page.get_by_role("tab", selected=True).text_content() == "文字", "no fields were asked for: the text opens"
    assert "便民超市" in page.text_content("#text pre")
    assert page.locator("#picture .line").count() >= 5


def test_the_language_comes_from_the_browser_and_can_be_changed(visit: Callable[..., Any], receipt: bytes) -> None:
    page = visit(locale="en-US")
    assert page.text_content("#title h1") == "Receipt reader"
    assert page.get_attribute("html", "lang") == "en"
    choose(page, receipt)
    page.click("#presets button >> nth=0")
    page.wait_for_selector("#fields table")
    page.click("#language label >> text=中文")
    for part in ("#title h1:has-text('票据识别')", "html[lang=zh]", "#read:has-text('开始识别')", "#presets :text('提取总金额')"):
        page.wait_for_selector(part)
    page.wait_for_selector("#fields th[scope=row] :text-is('总金额')")  # what was read, in the new language
    assert visit(locale="zh-TW").text_content("#title h1") == "票据识别"


def test_a_phone_takes_a_photo_and_nothing_runs_off_the_side(visit: Callable[..., Any], receipt: bytes) -> None:
    page = visit(**PHONE)
    camera = page.locator("#picker .camera input")
    assert (camera.get_attribute("capture"), camera.get_attribute("accept")) == ("environment", "image/*")
    assert page.locator("#picker .camera").is_visible()
    assert width(page) == 390
    with page.expect_file_chooser() as chooser:
        page.tap("#picker .camera")
    chooser.value.set_files({"name": "IMG_0001.jpg", "mimeType": "image/jpeg", "buffer": receipt})
    page.wait_for_selector("#picture img")
    page.tap("#presets button >> nth=1")
    page.wait_for_selector("#fields table")
    assert width(page) == 390
    page.tap("#fields tr[data-field='2']")
    assert page.locator(".mark.on").get_attribute("data-box") == "2"
    page.evaluate(STILL)
    shown = page.evaluate("document.querySelector('.mark.on').getBoundingClientRect().toJSON()")
    assert 0 <= shown["top"] <= 844, "the marked place is in sight"
    page.get_by_role("tab", name="JSON").tap()
    assert width(page) == 390


def width(page: Any) -> Any:
    return page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth)")


def test_a_picture_is_pasted(visit: Callable[..., Any], receipt: bytes) -> None:
    page = visit()
    page.evaluate(
        """(data) => {
          const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), transfer = new DataTransfer();
          transfer.items.add(new File([bytes], "image.png", { type: "image/jpeg" }));
          document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
        }""",
        base64.b64encode(receipt).decode(),
    )
    page.wait_for_selector("#picture img")
    ask(page, "提取总金额")
    assert page.text_content("#fields .value") == "¥36.80"


@pytest.mark.parametrize(("form", "mime", "pages"), [("PDF", "application/pdf", 2), ("HEIF", "image/heic", 1)])
def test_documents_and_photos_of_an_iphone_are_read(
    visit: Callable[..., Any], receipt: bytes, form: str, mime: str, pages: int
) -> None:
    if form == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    first, out = drawn(["NO TOTAL HERE"]), io.BytesIO()
    more = {"save_all": True, "append_images": [Image.open(io.BytesIO(receipt))]} if pages == 2 else {}
    (first if pages == 2 else Image.open(io.BytesIO(receipt))).save(out, form, **more)
    page = visit()
    choose(page, out.getvalue(), "scan", mime)
    assert page.locator("#picture .sheet").count() == pages
    ask(page, "提取总金额")
    assert page.text_content("#fields .value") == "¥36.80"
    assert page.locator(f"#picture .sheet[data-page='{pages - 1}'] .mark.on").count() == 1


def test_a_text_file_is_an_error_with_a_hint(visit: Callable[..., Any], uploads: Path) -> None:
    page = visit()
    choose(page, b"milk, bread, eggs\n" * 30, "list.jpg")
    alert = page.locator("#notices [role=alert]")
    assert alert.get_attribute("data-code") == "unsupported_media_type"
    assert "不支持" in alert.locator("b").text_content()
    assert "HEIC" in alert.locator("span").text_content()
    assert files_in(uploads) == []


def test_a_file_above_the_limit_is_not_even_sent(visit: Callable[..., Any]) -> None:
    page = visit()
    page.evaluate("""() => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(33 * 1024 * 1024)], "big.jpg", { type: "image/jpeg" }));
      const input = document.querySelector("#picker .file input");
      input.files = transfer.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    }""")
    page.wait_for_selector("[data-code=image_too_large]")


def test_asking_without_a_picture_says_so(visit: Callable[..., Any]) -> None:
    page = visit()
    page.click("#read")
    page.wait_for_selector("[data-code=no_picture]")
    assert "请先拍照" in page.text_content("#notices")


def drop_large_file(page: Any) -> None:
    page.evaluate("""() => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(33 * 1024 * 1024)], "big.jpg", { type: "image/jpeg" }));
      document.querySelector("#picker .drop").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
    }""")


def nothing_to_read(page: Any) -> None:
    """The old picture is gone, and Read reads nothing."""
    page.wait_for_selector("#picture .waiting")
    page.wait_for_selector("#fields .waiting")
    page.wait_for_function("!document.documentElement.dataset.upload")
    page.click("#read")
    page.wait_for_selector("[data-code=no_picture]")
    assert page.locator("#picture img, #fields table").count() == 0


@pytest.mark.parametrize("reason", ["image_too_large", "upload_failed", "empty_input"])
def test_a_refused_file_clears_the_previous_picture(visit: Any, receipt: Any, reason: Any) -> None:
    """The previous picture stayed, and Read read it in place of the refused file."""
    page = visit()
    choose(page, receipt)
    ask(page, "提取总金额")
    if reason == "image_too_large":
        drop_large_file(page)
    elif reason == "empty_input":
        choose_file(page, b"")
    else:
        page.route("**/page/uploads", lambda route: route.abort())
        choose_file(page, receipt)
    page.wait_for_selector(f"[data-code={reason}]")
    nothing_to_read(page)
    page.unroute("**/page/uploads")
    choose_file(page, receipt)
    page.wait_for_selector("#picture img")
    ask(page, "提取总金额")
    assert page.text_content("#fields .value") == "¥36.80"


def choose_file(page: Any, data: Any) -> None:
    page.set_input_files("#picker .file input", {"name": "b.jpg", "mimeType": "image/jpeg", "buffer": data})


def test_a_file_that_is_chosen_without_a_connection_clears_the_previous_picture(visit: Any, receipt: Any) -> None:
    page = visit()
    choose(page, receipt)
    ask(page, "提取总金额")
    page.context.set_offline(True)
    choose_file(page, receipt)
    page.wait_for_selector("[data-upload=failed]")
    page.wait_for_selector("#picture img", state="hidden")
    page.click("#read")
    assert page.locator("[data-upload=failed]").count() == 1, "the previous picture is not read"
    page.context.set_offline(False)  # Gradio loads the page again
    page.wait_for_selector("html[data-ready]:not([data-upload])")
    nothing_to_read(page)


def hold_uploads(page: Any) -> Any:
    """Uploads stop until the test continues them."""
    held = []

    def stop(route: Any) -> None:
        held.append(route)

    page.route("**/page/uploads", stop)
    return held


def test_the_newest_wish_during_an_upload_is_granted(visit: Any, receipt: Any) -> None:
    page = visit()
    held = hold_uploads(page)
    choose_file(page, receipt)
    page.wait_for_selector("[data-upload=sending]")
    page.click("#presets button >> text=提取总金额")
    page.click("#presets button >> text=识别全部文字")
    assert page.locator(".pending").count() == 1
    held[0].continue_()
    page.wait_for_selector("#text pre")
    assert "便民超市" in page.text_content("#text pre")
    assert page.input_value("#instruction input") == "识别全部文字"
    assert page.locator(".pending, #fields table").count() == 0


def test_read_during_an_upload_reads_the_new_picture(visit: Any, receipt: Any) -> None:
    page = visit()
    choose(page, jpeg(drawn(["合计：¥11.00"])))
    page.fill("#instruction input", "提取总金额")
    held = hold_uploads(page)
    choose_file(page, receipt)
    page.wait_for_selector("[data-upload=sending]")
    page.press("#instruction input", "Enter")
    held[0].continue_()
    page.wait_for_selector("#fields table")
    assert page.text_content("#fields .value") == "¥36.80"


def test_of_two_files_the_newest_wins(visit: Any, receipt: Any) -> None:
    page = visit()
    held = hold_uploads(page)
    choose_file(page, jpeg(drawn(["合计：¥11.00"])))
    page.wait_for_selector("[data-upload=sending]")
    choose_file(page, receipt)
    page.wait_for_timeout(300)
    for route in reversed(held):
        with suppress(Exception):  # the first one was aborted
            route.continue_()
    page.wait_for_selector("#picture img")
    ask(page, "提取总金额")
    assert page.text_content("#fields .value") == "¥36.80"


TAP = """(wish) => [...document.querySelectorAll("#presets button")].find((chip) => chip.textContent === wish)?.click()"""


def test_the_newest_wish_during_a_reading_is_granted(visit: Any, receipt: Any) -> None:
    """Gradio ignored a tap while an event of the same kind was running."""
    page = visit()
    choose(page, receipt)
    page.evaluate("""() => {
      window.tables = 0;
      new MutationObserver(() => { tables += document.querySelectorAll("#fields table").length; })
        .observe(document.querySelector("#fields"), { childList: true, subtree: true });
    }""")
    for wish in ("提取总金额", "提取商户、日期和总金额", "识别全部文字"):
        page.evaluate(TAP, wish)
    page.wait_for_selector("#text pre")
    page.wait_for_timeout(3000)
    assert page.input_value("#instruction input") == "识别全部文字"
    assert page.get_by_role("tab", selected=True).text_content() == "文字"
    assert page.evaluate("tables") == 0, "no result of an older wish was shown"


def test_a_new_file_during_a_reading_is_not_replaced_by_the_old_result(visit: Any, receipt: Any) -> None:
    page = visit()
    choose(page, receipt)
    before = page.get_attribute("#picture img", "src")
    page.fill("#instruction input", "提取总金额")
    page.press("#instruction input", "Enter")
    choose_file(page, jpeg(drawn(["合计：¥11.00"])))
    page.wait_for_function("(old) => document.querySelector('#picture img')?.getAttribute('src') !== old", arg=before)
    page.wait_for_timeout(3000)
    # The wish may have come when the upload had begun; then the new picture is read.
    assert "¥36.80" not in page.locator("#fields .value").all_text_contents(), "the result of the old picture"
    page.click("#read")
    page.wait_for_selector("#fields table")
    assert page.text_content("#fields .value") == "¥11.00"


def test_a_new_picture_clears_the_old_result(visit: Any, receipt: Any) -> None:
    page = visit()
    choose(page, receipt)
    ask(page, "提取总金额")
    page.set_input_files("#picker .file input", {"name": "b", "mimeType": "image/jpeg", "buffer": jpeg(drawn(["谢谢"]))})
    page.wait_for_selector("#fields .waiting")
    assert page.locator("#picture polygon").count() == 0


def test_the_copy_button_works_where_browsers_hide_the_clipboard(visit: Callable[..., Any], receipt: bytes) -> None:
    page = visit("shop.test")  # plain HTTP, as on a phone in the shop
    assert page.evaluate("[isSecureContext, navigator.clipboard === undefined]") == [False, True]
    choose(page, receipt)
    ask(page, "识别全部文字")
    page.evaluate("""() => {
      const button = document.querySelector("#text [data-copy]");
      window.said = [];
      new MutationObserver(() => said.push(button.textContent)).observe(button, { childList: true });
    }""")
    page.click("#text [data-copy]")
    page.wait_for_function("said[0] === '已复制'")  # for a moment
    page.fill("#instruction input", "")
    page.focus("#instruction input")
    page.keyboard.press("Control+V")
    assert "便民超市" in page.input_value("#instruction input")


def test_nothing_but_the_page_is_given_out(served: Appliance) -> None:
    for path in ("gradio_api/file=/etc/passwd", "gradio_api/file=app_web.py", "gradio_api/proxy=http://a.test", "monitoring"):
        assert httpx.get(f"{served.page}/{path}", timeout=60).status_code in (400, 403, 404), path
    assert httpx.get(f"{served.page}/gradio_api/info", timeout=60).status_code == 404


def test_a_phone_that_leaves_in_the_middle_of_an_upload_is_no_error(served: Appliance) -> None:
    host, port = served.page.removeprefix("http://").split(":")
    before = len(served.printed)
    with socket.create_connection((host, int(port))) as phone:
        phone.sendall(b"POST /page/uploads HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n" + b"x" * 1000)
        time.sleep(0.5)
    time.sleep(0.5)
    assert httpx.get(f"{served.api}/health", timeout=60).status_code == 200
    assert "Traceback" not in "".join(served.printed[before:])


def test_the_api_answers_beside_the_page(served: Appliance, receipt: bytes) -> None:
    for base in (served.page, served.api):
        wish = {"instruction": "提取总金额", "response": "fields"}
        done = httpx.post(f"{base}/ocr", files={"file": receipt}, data=wish, timeout=60)
        assert (done.status_code, done.json()) == (200, {"total_amount": "¥36.80"})
    assert "gradio" in httpx.get(served.page, timeout=60).text
    assert httpx.get(served.api, timeout=60).status_code == 404, "the port of the devices has no page"


def test_the_page_refuses_in_the_form_of_the_api(served: Appliance) -> None:
    r = httpx.get(f"{served.page}/nowhere", timeout=60)
    assert (r.status_code, r.json()["code"], r.json()["request_id"]) == (404, "not_found", r.headers["x-request-id"])
