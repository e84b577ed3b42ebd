"""Shared by the benchmarks of whole servers: a checkpoint, an image, the server process, load generation, a table."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # tests/ is not installed

from hunyuanocr.loadtest.receipts import draw_text  # noqa: E402
from tests.support.appliance import Appliance, appliance  # noqa: E402
from tests.support.checkpoints import random_checkpoint  # noqa: E402

DEMO = ROOT / "models" / "hunyuanocr-demo"
Way = Callable[[], Awaitable[None]]


def parser(words: str | None, rounds: int, requests: int) -> ArgumentParser:
    """Return a parser with the common flags."""
    made = ArgumentParser(description=words, formatter_class=RawDescriptionHelpFormatter)
    made.add_argument("--model-path", type=Path, help="Folder of weights (default: models/hunyuanocr-demo, or random weights).")
    made.add_argument("--device", default="auto")
    made.add_argument("--dtype", default="auto")
    made.add_argument("--vram-gb", type=float, default=5.0)
    made.add_argument("--rounds", type=int, default=rounds, help="Number of rounds; medians are reported.")
    made.add_argument("--requests", type=int, default=requests, help="Requests per round, at least four per client.")
    made.add_argument("--out", type=Path, help="JSON file for raw figures.")
    return made


@contextmanager
def checkpoint(given: Path | None) -> Iterator[Path]:
    """Return the given folder, the demo checkpoint, or random weights."""
    if given is not None or (DEMO / "config.json").is_file():
        yield given or DEMO
        return
    with tempfile.TemporaryDirectory(prefix="checkpoint-") as temporary:
        yield random_checkpoint(Path(temporary) / "random", stop=1.5)


def picture() -> bytes:
    """Return a small receipt as PNG."""
    return draw_text(("CORNER SHOP", "TOTAL 36.80", "2026-11-20"), spacing=2.25)


@contextmanager
def served(backend: str, folder: Path, args: Namespace, **settings: str) -> Iterator[Appliance]:
    """Run the server in a separate process, ready, with its cache disabled."""
    flags = ("--no-page", "--backend", backend, "--model-path", str(folder.resolve()), "--device", args.device)
    more = {"HUNYUANOCR_PIPELINE__CACHE_MB": "0"} | settings
    with appliance(*flags, "--dtype", args.dtype, "--vram-gb", str(args.vram_gb), **more) as running:
        running.until_ready(900)
        yield running


@dataclass(frozen=True)
class Round:
    """Requests per second of one round, and the seconds of each request."""

    rate: float
    seconds: tuple[float, ...]


async def load(way: Way, clients: int, requests: int) -> Round:
    """Run a number of clients that send requests without a pause."""
    seconds: list[float] = []
    left = iter(range(max(requests, 4 * clients)))

    async def client() -> None:
        for _ in left:
            began = time.perf_counter()
            await way()
            seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Round(len(seconds) / (time.perf_counter() - began), tuple(seconds))


def rate(rounds: Sequence[Round]) -> float:
    """Return requests per second: the median of the rounds."""
    return statistics.median(r.rate for r in rounds)


def p50_ms(rounds: Sequence[Round]) -> float:
    """Return the milliseconds of a request: the median of the rounds' medians."""
    return 1000 * statistics.median(statistics.median(r.seconds) for r in rounds)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
