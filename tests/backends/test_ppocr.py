"""The CPU backend on both engines."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest

from hunyuanocr.backends.ppocr import PpocrBackend
from hunyuanocr.backends.ppocr.detector import Detector, DetectorOptions
from hunyuanocr.backends.ppocr.ocr import PageReader
from hunyuanocr.config import PpocrSettings
from hunyuanocr.errors import BackendFailed, BackendUnavailable, ConfigError
from hunyuanocr.types import Page
from tests.backends.contract import ReaderContract, blank_page, read, text_page


def started(settings: PpocrSettings) -> Iterator[PpocrBackend]:
    """Once for a class: the reader belongs to no event loop."""
    backend = PpocrBackend(settings)
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(asyncio.run, backend.start()).result()
        yield backend
        elsewhere.submit(asyncio.run, backend.close()).result()


class TestOpenVino(ReaderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> Iterator[PpocrBackend]:
        if find_spec("openvino") is None:
            pytest.skip("OpenVINO has no package for this processor")
        yield from started(PpocrSettings(runtime="openvino", workers=2))


class TestOnnxruntime(ReaderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> Iterator[PpocrBackend]:
        yield from started(PpocrSettings(runtime="onnxruntime"))


class TestSmallMemory(ReaderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> Iterator[PpocrBackend]:
        yield from started(PpocrSettings(small_memory=True))


@pytest.fixture(scope="module")
def reader() -> PageReader:
    return PageReader(PpocrSettings())


def texts(reader: PageReader, page: Page) -> list[str]:
    return [" ".join(line.text for line in row) for row in reader.read(page)]


def turn(page: Page, quarters: int) -> Page:
    pixels = np.ascontiguousarray(np.rot90(page.pixels, quarters))
    return Page(pixels, pixels.shape[1], pixels.shape[0])


UPRIGHT = ["SUNRISE BAKERY", "Croissant 3.50", "Total amount 12.75", "Thank you, come again"]


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_turned_pages_are_read_in_their_own_order(reader: PageReader, quarters: int) -> None:
    page = turn(text_page(UPRIGHT), quarters)
    assert texts(reader, page) == UPRIGHT


def test_boxes_of_a_page_on_its_side(reader: PageReader) -> None:
    page = turn(text_page(UPRIGHT), 3)  # the head is at the right, lines run down
    first = reader.read(page)[0][0]
    (left, top), (right, _), (_, bottom), _ = first.box
    assert left > page.width * 0.6  # the first line is the rightmost
    assert bottom - top > 3 * (right - left)


def test_askew_page_keeps_its_rows(reader: PageReader) -> None:
    import cv2

    page = text_page(["Milk            2.40", "Bread           1.10", "Butter          3.90"], width=900)
    rows, columns = page.pixels.shape[:2]
    turned = cv2.warpAffine(
        page.pixels, cv2.getRotationMatrix2D((columns / 2, rows / 2), 4, 1.0), (columns, rows), borderValue=(255, 255, 255)
    )
    found = texts(reader, Page(turned, columns, rows))
    assert [row.split()[0] for row in found] == ["Milk", "Bread", "Butter"]
    assert [row.split()[-1] for row in found] == ["2.40", "1.10", "3.90"]


def test_single_digits_are_not_turned_over(reader: PageReader) -> None:
    page = text_page(["Apples      1", "Pears       7", "Plums       4"])
    assert [row.split()[-1] for row in texts(reader, page)] == ["1", "7", "4"]


def test_long_line_is_split_and_joined_not_cut_off(reader: PageReader) -> None:
    words = " ".join(f"word{n:02d}" for n in range(40))  # 279 characters: over 4,000 pixels at the recogniser's height
    page = text_page([words], size=24, width=4200)
    assert " ".join(texts(reader, page)).replace(" ", "") == words.replace(" ", "")


def test_blank_page_has_no_lines(reader: PageReader) -> None:
    assert reader.read(blank_page()) == []


def test_noise_is_not_text(reader: PageReader) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (400, 400, 3), dtype=np.uint8)
    assert reader.read(Page(noise, 400, 400)) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (20, 20), (2048, 2048), (33, 500)])
def test_odd_sizes(reader: PageReader, size: tuple[int, int]) -> None:
    page = Page(np.full((*size, 3), 255, np.uint8), size[1], size[0])
    assert reader.read(page) == []


def test_confidence_tells_clear_from_faint(reader: PageReader) -> None:
    page = text_page(["Clear print 123"])
    clear = reader.read(page)[0][0].confidence
    faint = np.clip(page.pixels.astype(int) // 6 + 180 + np.random.default_rng(0).normal(0, 40, page.pixels.shape), 0, 255)
    found = reader.read(Page(faint.astype(np.uint8), page.width, page.height))
    assert clear is not None
    assert clear > 0.9
    assert all(line.confidence is not None and line.confidence < clear for row in found for line in row)


async def test_leaving_stops_the_work_between_pages() -> None:
    backend = PpocrBackend(PpocrSettings())
    await backend.start()
    begun = 0
    real = backend.load_reader().read_page

    def counted(page: Page, go_on: object) -> object:
        nonlocal begun
        begun += 1
        return real(page, go_on)  # type: ignore[arg-type]

    backend.load_reader().read_page = counted  # type: ignore[assignment]
    task = asyncio.create_task(read(backend, [text_page(["STOP ME"], n) for n in range(200)]))
    while begun == 0:
        await asyncio.sleep(0.005)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await backend.close()  # waits for the worker
    assert begun < 100


def test_leaving_stops_the_work_between_batches(reader: PageReader) -> None:
    calls = 0

    class Stop(Exception):
        pass

    def go_on() -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Stop

    page = text_page([f"line {n}" for n in range(12)])
    with pytest.raises(Stop):
        reader.read(page, go_on)
    assert calls == 4
    assert texts(reader, page)[0] == "line 0"  # and the reader is whole


async def test_lazy_loads_at_the_first_picture() -> None:
    backend = PpocrBackend(PpocrSettings(load="lazy"))
    assert not (await backend.health()).ready
    await backend.start()
    assert backend.reader is None
    assert (await backend.health()).ready
    assert (await read(backend, [text_page(["LAZY"])])).text == "LAZY"
    assert backend.reader is not None
    await backend.close()


async def test_closed_twice_and_not_read_from() -> None:
    backend = PpocrBackend(PpocrSettings(load="lazy"))
    with pytest.raises(BackendUnavailable):
        await read(backend, [blank_page()])
    await backend.start()
    await backend.close()
    await backend.close()
    assert not (await backend.health()).ready
    with pytest.raises(BackendUnavailable):
        await read(backend, [blank_page()])


async def test_what_breaks_inside_is_a_failure_of_the_reader() -> None:
    backend = PpocrBackend(PpocrSettings(load="lazy"))
    await backend.start()
    with pytest.raises(BackendFailed):
        await read(backend, [Page(np.zeros((5, 5, 7), np.uint8), 5, 5)])  # not RGB
    assert (await read(backend, [text_page(["GOES ON"])])).lines
    await backend.close()


def test_several_threads_share_a_reader(reader: PageReader) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        for _ in range(3):
            found = texts(reader, text_page([f"NUMBER {number}"]))
            if found != [f"NUMBER {number}"]:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3, 4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_missing_and_broken_network_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        PageReader(PpocrSettings(recogniser=tmp_path / "none.onnx"))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    for runtime in ("openvino", "onnxruntime"):
        with pytest.raises(ConfigError, match="cannot load the network file"):
            PageReader(PpocrSettings(recogniser=broken, runtime=runtime))
    with pytest.raises(ConfigError, match="requires"):
        PageReader(PpocrSettings(dictionary=broken))


def test_eight_bit_networks_must_have_been_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="8-bit") as refusal:
        PageReader(PpocrSettings(int8=True))
    assert "bench/quantise.py" in refusal.value.hint


def test_clean_up_enlarges_small_pictures_and_maps_boxes_back() -> None:
    plain, cleaning = (
        PageReader(PpocrSettings(upscale_small_images="off")),
        PageReader(PpocrSettings(upscale_small_images="auto")),
    )
    page = text_page(["Far away 12.50", "Small print"], size=14, width=320)
    assert cleaning.detector.input_size(320, 136)[0] > plain.detector.input_size(320, 136)[0]
    first, second = (reader.read(page)[0][0] for reader in (plain, cleaning))
    assert first.text.replace(" ", "") == second.text.replace(" ", "") == "Faraway12.50"
    assert np.abs(np.array(first.box) - np.array(second.box)).max() < 8


@pytest.mark.parametrize("size", [(1, 1), (50, 3000), (4961, 7016), (640, 480), (20_000, 20_000)])
@pytest.mark.parametrize("small", [False, True])
def test_what_detection_takes_is_bounded(reader: PageReader, size: tuple[int, int], small: bool) -> None:
    options = DetectorOptions(long_side=1280, pixels=800_000) if small else DetectorOptions()
    width, height = Detector(reader.detector.network, options).input_size(*size)
    assert width % 64 == height % 64 == 0
    assert min(width, height) >= 64
    assert max(width, height) <= options.long_side
    assert width * height <= options.pixels * 1.15  # sizes are rounded


@pytest.mark.long
def test_memory_stays_flat_over_many_sizes(reader: PageReader) -> None:
    rng = np.random.default_rng(5)
    process = psutil.Process()

    def read_some(count: int) -> int:
        for _ in range(count):
            words = ["x" * int(rng.integers(3, 40)) for _ in range(6)]
            reader.read(text_page(words, size=int(rng.integers(14, 40)), width=int(rng.integers(200, 1400))))
        return process.memory_info().rss >> 20

    read_some(60)
    before = read_some(20)
    assert read_some(60) - before < 120
