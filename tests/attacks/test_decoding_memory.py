"""Pictures that take much memory or time for their size: what decoding takes is known before, and limited for all together."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pillow_heif
import psutil
import pytest
from PIL import Image

from hunyuanocr.config import ImageSettings
from hunyuanocr.errors import DecodingBusy, DocumentTooComplex, HunyuanOcrError, ImageTooLarge
from hunyuanocr.images import Cancellation, ImageDecoder, WorkCancelled
from hunyuanocr.images.memory import DecodingMemory
from hunyuanocr.images.raster import PillowRaster, flat, reduced
from hunyuanocr.images.structure import jpeg_scans, tiff_pages
from tests.attacks import hostile
from tests.support.appliance import appliance
from tests.support.fake_backend import picture

SIDE = 2400
SLACK_MB = 20  # beyond what was reserved: the allocator's, and measuring the quality of the page

MEASURE = """
import sys
from pathlib import Path
import cv2, pi_heif
from hunyuanocr.config import ImageSettings
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.images import ImageDecoder, memory

def megabytes(key):
    return next(int(line.split()[1]) * 1024 / 1e6 for line in open("/proc/self/status") if line.startswith(key))

reserved = []
wait = memory.DecodingMemory._wait
memory.DecodingMemory._wait = lambda self, needed, cancellation: (reserved.append(needed), wait(self, needed, cancellation))
decoder = ImageDecoder(ImageSettings(decode_memory_mb=float(sys.argv[1])))
for file in map(Path, sys.argv[2:]):  # the first one loads what is loaded once
    data = file.read_bytes()
    reserved[:] = [0]
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = megabytes("VmRSS")
    try:
        decoder.open_pages(data)
        outcome = "read"
    except HunyuanOcrError as e:
        outcome = e.code
    print(outcome, megabytes("VmHWM") - before, max(reserved) / 1e6)
"""


def all_measured(files: list[bytes], folder: Path, *, limit_mb: float = 1000) -> list[tuple[str, float, float]]:
    """How each ended, by how many MB memory rose at the most, and how many were reserved: in a process of its own."""
    paths = []
    for number, data in enumerate([picture(), *files]):
        paths.append(folder / str(number))
        paths[-1].write_bytes(data)
    command = [sys.executable, "-c", MEASURE, str(limit_mb), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=True)
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    return [(outcome, float(peak), float(reserved)) for outcome, peak, reserved in rows]


def measured(data: bytes, folder: Path, *, limit_mb: float = 1000) -> tuple[str, float, float]:
    return all_measured([data], folder, limit_mb=limit_mb)[0]


def tiff(mode: str, *, rows: int | None = None) -> bytes:
    """Black; `rows` a strip, all in one where None."""
    image = Image.new(mode, (SIDE, SIDE))
    return hostile.encoded(image, "TIFF", compression="tiff_adobe_deflate", strip_size=1 << 30 if rows is None else rows * SIDE)


def heic(mode: str) -> bytes:
    out = io.BytesIO()
    pillow_heif.from_pillow(Image.new(mode, (1200, 1200))).save(out, quality=30)
    return out.getvalue()


def jpeg(mode: str, *, progressive: bool) -> bytes:
    return hostile.encoded(Image.new(mode, (SIDE, SIDE)), "JPEG", progressive=progressive, subsampling=0)


MODES: dict[str, Callable[[], bytes]] = {
    **{f"PNG {mode}": partial(hostile.black_png, mode, SIDE, SIDE) for mode in ("L", "I;16", "RGB;16", "RGBA")},
    "PNG RGBA interlaced": lambda: hostile.black_png("RGBA", SIDE, SIDE, interlaced=True),
    "TIFF F in one strip": lambda: tiff("F"),
    "TIFF RGBA": lambda: tiff("RGBA", rows=64),
    "JPEG progressive": lambda: jpeg("CMYK", progressive=True),
    "WebP": lambda: hostile.encoded(Image.new("RGBA", (SIDE, SIDE), (9, 9, 9, 100)), "WebP", lossless=True, method=0),
    "HEIC": lambda: heic("RGBA"),
    "AVIF": lambda: hostile.encoded(Image.new("RGBA", (SIDE, SIDE)), "AVIF", speed=10, subsampling="4:4:4"),
    "GIF": lambda: hostile.encoded(Image.new("P", (SIDE, SIDE)), "GIF"),
    "JPEG cut": lambda: jpeg("RGB", progressive=False)[:-2],
    "JPEG cut and filled": lambda: jpeg("CMYK", progressive=True)[:-2] + bytes(20_000_000),
    "PNG cut": lambda: hostile.encoded(Image.effect_noise((SIDE, SIDE), 99), "PNG", compress_level=1)[:-4000],
    "BMP": lambda: hostile.encoded(Image.new("L", (SIDE, SIDE)), "BMP"),
}
MORE_MODES: dict[str, Callable[[], bytes]] = {
    **{f"PNG {mode}": partial(hostile.black_png, mode, SIDE, SIDE) for mode in ("1", "RGB", "P", "LA")},
    **{f"PNG {mode} interlaced": partial(hostile.black_png, mode, SIDE, SIDE, interlaced=True) for mode in ("L", "RGB")},
    **{f"TIFF {mode}": partial(tiff, mode, rows=64) for mode in ("1", "L", "P", "RGB", "CMYK", "I", "I;16", "LAB")},
    **{f"TIFF {mode} in one strip": partial(tiff, mode) for mode in ("L", "RGB", "CMYK", "I;16")},
    **{f"JPEG {mode}": partial(jpeg, mode, progressive=False) for mode in ("L", "RGB", "CMYK")},
    **{f"JPEG {mode} progressive": partial(jpeg, mode, progressive=True) for mode in ("L", "RGB")},
    "WebP RGB": lambda: hostile.encoded(Image.new("RGB", (SIDE, SIDE)), "WebP", quality=10, method=0),
    "AVIF RGB": lambda: hostile.encoded(Image.effect_noise((SIDE, SIDE), 99).convert("RGB"), "AVIF", speed=10, quality=30),
    "HEIC RGB": lambda: heic("RGB"),
}


@pytest.mark.parametrize("modes", [MODES, pytest.param(MORE_MODES, marks=pytest.mark.long)], ids=["", "more"])
def test_memory_rises_by_no_more_than_was_reserved(modes: dict[str, Callable[[], bytes]], tmp_path: Path) -> None:
    found = dict(zip(modes, all_measured([make() for make in modes.values()], tmp_path), strict=True))
    assert {outcome for outcome, _, _ in found.values()} == {"read"}
    assert {name: row for name, row in found.items() if row[1] > row[2] + SLACK_MB} == {}
    assert all(reserved > 0 for _, _, reserved in found.values())


def test_with_little_memory_what_takes_too_much_is_refused_and_an_a4_scan_at_600_dpi_is_read(tmp_path: Path) -> None:
    bombs = [hostile.black_png("I;16", 10_000, 10_000), hostile.black_png("RGBA", 9999, 9999)]
    assert max(map(len, bombs)) < 3_000_000
    scans = [hostile.black_png(mode, 4961, 7016) for mode in ("RGB", "L")]
    rows = all_measured([*bombs, *scans], tmp_path, limit_mb=170)
    assert [outcome for outcome, _, _ in rows] == ["image_too_large", "image_too_large", "read", "read"]
    assert all(peak < 15 for _, peak, _ in rows[:2])
    assert all(peak < 190 for _, peak, _ in rows[2:])


def tree_mb(process: psutil.Process) -> float:
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.Error:
            continue
    return total / 2**20


@pytest.mark.long
def test_the_api_with_small_memory_stays_within_450_mib_whatever_the_picture(tmp_path: Path) -> None:
    """Children included; several at a time."""
    side = 5900
    files = [
        hostile.black_png("RGBA", side, side),
        hostile.black_png("I;16", 10_000, 9900),
        hostile.black_png("RGB;16", side, side),
        hostile.black_png("L", side, side),
        hostile.encoded(Image.new("RGB", (side, side)), "TIFF", compression="tiff_lzw"),
        jpeg("RGB", progressive=True),
        hostile.encoded(Image.new("RGBA", (side, side)), "WebP", method=0),
        heic("RGBA"),
    ]
    peak = 0.0
    with appliance("--no-page", HUNYUANOCR_PPOCR__SMALL_MEMORY="true", HUNYUANOCR_DATA=str(tmp_path)) as running:
        running.until_ready()
        process = psutil.Process(running.process.pid)
        ended = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(0.004):
                peak = max(peak, tree_mb(process))

        watcher = threading.Thread(target=watch)
        watcher.start()
        statuses: list[int] = []

        def send(data: bytes) -> None:
            statuses.append(httpx.post(f"{running.api}/ocr", files={"file": data}, timeout=200).status_code)

        senders = [threading.Thread(target=send, args=(data,)) for data in files]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        ended.set()
        watcher.join()
    assert set(statuses) <= {200, 413, 503}
    assert statuses.count(200) >= 4
    assert peak <= 450, peak


# Time


@pytest.fixture
def decoder() -> Iterator[ImageDecoder]:
    with ImageDecoder(ImageSettings()) as decoder:
        yield decoder


@pytest.mark.parametrize("name", hostile.BUSY_PICTURES)
def test_a_busy_picture_is_refused_at_once(name: str, decoder: ImageDecoder) -> None:
    data = hostile.BUSY_PICTURES[name]()
    before, began = psutil.Process().memory_info().rss, time.process_time()
    with pytest.raises(DocumentTooComplex):
        decoder.open_pages(data)
    assert time.process_time() - began < 1.0
    assert psutil.Process().memory_info().rss < before + 50e6


def test_exif_of_many_entries_costs_neither_memory_nor_the_picture(tmp_path: Path) -> None:
    exif = hostile.shared_directory()
    assert len(exif) < 600_000
    outcome, peak, _ = measured(hostile.jpeg_with_exif(exif), tmp_path)
    assert (outcome, peak < 30) == ("read", True)


def test_a_tile_larger_than_memory_is_refused(decoder: ImageDecoder) -> None:
    data = hostile.tiff_with_huge_tile()
    assert tiff_pages(data, 1)[0].buffer_bytes >= 3_600_000_000
    with pytest.raises(ImageTooLarge):
        decoder.open_pages(data)


def test_a_tiff_of_many_large_pages_is_stopped_between_two_of_them() -> None:
    leaf = Image.new("1", (4000, 4000))
    data = hostile.encoded(leaf, "TIFF", compression="group4", save_all=True, append_images=[leaf] * 40)
    with ImageDecoder(ImageSettings(pdf_timeout_s=0.05)) as decoder, pytest.raises(DocumentTooComplex, match="page"):
        decoder.open_pages(data)
    cancellation = Cancellation()
    threading.Timer(0.2, cancellation.cancel).start()
    with ImageDecoder(ImageSettings()) as decoder, pytest.raises(WorkCancelled):
        decoder.open_pages(data, cancellation)


def test_other_threads_run_while_a_large_webp_is_decoded(decoder: ImageDecoder) -> None:
    data = hostile.encoded(Image.new("RGB", (SIDE, SIDE), (9, 9, 9)), "WebP", quality=10, method=0)
    thread = threading.Thread(target=decoder.open_pages, args=(data,))
    worst, last = 0.0, time.perf_counter()
    thread.start()
    while thread.is_alive():
        time.sleep(0.002)
        now = time.perf_counter()
        worst, last = max(worst, now - last), now
    assert worst < 0.25


# Honest pictures pass the same checks


def test_honest_progressive_jpegs_are_read_and_their_scans_counted(decoder: ImageDecoder) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (600, 800, 3), dtype=np.uint8))
    data = hostile.encoded(noise, "JPEG", progressive=True, quality=90)
    assert jpeg_scans(data) == (10, True)
    assert jpeg_scans(hostile.encoded(noise, "JPEG")) == (1, True)
    assert jpeg_scans(data + b"\xff\xda" * 5000) == (10, True), "a film after the picture, as phones append"
    for file in (data, data + b"\xff\xda" * 5000, hostile.jpeg_of_scans(60, side=800)):
        assert len(decoder.open_pages(file)) == 1


def test_honest_tiffs_of_small_strips_are_read(decoder: ImageDecoder) -> None:
    image = Image.new("L", (300, 7016), 255)
    for options in ({"strip_size": 300}, {"compression": "tiff_lzw", "strip_size": 300}, {"big_tiff": True}):
        data = hostile.encoded(image, "TIFF", **options)
        assert len(tiff_pages(data, 5)) == 1
        assert decoder.open_pages(data)[0].height == 7016


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "I", "F"])
def test_bands_make_the_same_picture_as_the_whole(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (611, 503, 4), dtype=np.uint8)
    if mode in ("I;16", "I", "F"):
        image = Image.fromarray(noise[..., 0].astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    elif mode == "CMYK":
        image = Image.fromarray(noise, "CMYK")
    else:
        image = Image.fromarray(noise).convert(mode)
    monkeypatch.setattr("hunyuanocr.images.raster.BAND_PIXELS", 10_000)
    for small in ((503, 611), (251, 305), (200, 77)):
        found = reduced(PillowRaster(image), small)
        raster = PillowRaster(image)
        whole = flat(raster.band(0, 611), "RGB")
        expected = np.asarray(whole if small == whole.size else whole.resize(small, Image.Resampling.BOX))
        assert np.abs(found.astype(int) - expected).max() <= 1


# The budget


def test_memory_is_given_in_order_and_given_back() -> None:
    budget, order = DecodingMemory(100), []

    def take(name: str, needed: int) -> None:
        with budget.reserved(needed, Cancellation()):
            order.append(name)
            time.sleep(0.05)

    with budget.reserved(60, Cancellation()):
        threads = [threading.Thread(target=take, args=one) for one in (("large", 90), ("small", 10))]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        assert order == [], "the small one does not overtake, or a large one would never get its turn"
    for thread in threads:
        thread.join()
    assert (order, budget.used) == (["large", "small"], 0)


def test_waiting_for_memory_ends_with_a_refusal_or_with_the_request() -> None:
    budget, cancellation = DecodingMemory(100), Cancellation()
    budget.wait_s = 0.2
    with budget.reserved(60, Cancellation()):
        with pytest.raises(DecodingBusy) as refusal, budget.reserved(50, Cancellation()):
            pass
        assert refusal.value.retry_after > 0
        budget.wait_s = 20.0
        threading.Timer(0.1, cancellation.cancel).start()
        began = time.monotonic()
        with pytest.raises(WorkCancelled), budget.reserved(50, cancellation):
            pass
        assert time.monotonic() - began < 5
        with pytest.raises(ImageTooLarge, match="memory"), budget.reserved(101, Cancellation()):
            pass
    with budget.reserved(100, Cancellation()):
        assert budget.used == 100
    assert budget.used == 0


def test_large_pictures_at_a_time_stay_within_the_budget() -> None:
    data = hostile.black_png("RGBA", 2000, 2000)
    with ImageDecoder(ImageSettings(decode_memory_mb=60)) as decoder:
        most, ended, errors = 0, threading.Event(), []

        def watch() -> None:
            nonlocal most
            while not ended.wait(0.001):
                most = max(most, decoder.memory.used)

        def work() -> None:
            try:
                decoder.open_pages(data)
            except HunyuanOcrError as e:
                errors.append(e)

        watcher, workers = threading.Thread(target=watch), [threading.Thread(target=work) for _ in range(6)]
        for thread in (watcher, *workers):
            thread.start()
        for thread in workers:
            thread.join()
        ended.set()
        watcher.join()
    assert errors == []
    assert 0 < most <= 60_000_000
