"""A Backend out of any Generator: Task → prompt and schema → tokens → Reading. Engines are told apart nowhere in here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from hunyuanocr.backends.base import Generation, Generator, Health
from hunyuanocr.backends.vlm import parsing as made
from hunyuanocr.backends.vlm.parsing import ENDED_EARLY, Completion, CompletionBuilder, ExtractedFields
from hunyuanocr.errors import BackendUnavailable
from hunyuanocr.output.spotting import SpottingStream
from hunyuanocr.prompts import SPOTTING, Prompt, build_prompt
from hunyuanocr.types import EvidenceMode, Line, Page, Progress, Reading, Task, TaskKind, TextDelta, Usage

MAX_CONCURRENT_PAGES = 4  # pages of one document; other requests want the engine, too
MAX_PAGES_PER_PROMPT = 8  # pages that a free question sees in one request; more of them are asked one by one


@dataclass(frozen=True)
class _PageRequest:
    """One generation: what is asked, of which pages, and whether its text is told while it is written."""

    prompt: Prompt
    pages: tuple[Page, ...]
    told: bool = True

    @property
    def spots(self) -> bool:
        return self.prompt.prompt == SPOTTING


class VlmBackend:
    """Reads pages with a language model. Answers of several pages are put together in the order of the pages.

    A field of a document comes from the first page that has it, rows from all pages. Text deltas of a page are those that the
    model writes (for spotting: lines without their places), pages one after another.
    """

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self.name = generator.name
        self.model = generator.model
        self.tasks = frozenset(TaskKind)

    async def start(self) -> None:
        """Load the engine. Raises what it raises."""
        await self._generator.start()
        self.model = self._generator.model

    async def health(self) -> Health:
        """The engine's."""
        return await self._generator.health()

    async def close(self) -> None:
        """Give the engine's memory back. May be called twice."""
        await self._generator.close()

    async def read(self, pages: Sequence[Page], task: Task) -> AsyncGenerator[TextDelta | Progress | Reading, None]:
        """Deltas and progress, then one Reading. Leaving by `aclosing` leaves every generation.

        Raises InvalidSchema and InvalidValue (see `prompts.build_prompt`), OutputTruncated, ReaderFailed, and the engine's
        errors.
        """
        jobs = _page_requests(build_prompt(task), tuple(pages), task)
        written: dict[int, Completion] = {}
        turns = _PageOrderedStream(jobs)
        async with aclosing(_run_concurrently(self._generator, jobs)) as parts:
            async for number, part in parts:
                if isinstance(part, Completion):
                    written[number] = part
                piece = turns.end(number) if isinstance(part, Completion) else turns.add(number, part)
                if piece:
                    yield TextDelta(piece)
                if isinstance(part, Completion) and len(pages) > 1:
                    yield Progress(len(written) * len(pages) // len(jobs), len(pages))
        yield _reading(task, [(job, written[n]) for n, job in enumerate(jobs)])


def _page_requests(asked: Prompt, pages: tuple[Page, ...], task: Task) -> list[_PageRequest]:
    if task.kind is TaskKind.FREE and asked.prompt != SPOTTING and len(pages) <= MAX_PAGES_PER_PROMPT:
        return [_PageRequest(asked, pages)]
    jobs = [_PageRequest(asked, (page,)) for page in pages]
    if task.kind is TaskKind.EXTRACT and task.evidence is EvidenceMode.FULL:
        spotting = build_prompt(Task(TaskKind.SPOT))
        jobs += [_PageRequest(spotting, (page,), told=False) for page in pages]
    return jobs


async def _run_concurrently(
    generator: Generator, jobs: Sequence[_PageRequest]
) -> AsyncGenerator[tuple[int, str | Completion], None]:
    """Pieces of text as they come, each with the number of its job, and a Written when a job ends. The first failure ends all."""
    queue: asyncio.Queue[tuple[int, str | Completion | Exception]] = asyncio.Queue()
    places = asyncio.Semaphore(MAX_CONCURRENT_PAGES)

    async def work(number: int, job: _PageRequest) -> None:
        try:
            async with places:
                queue.put_nowait((number, await _generate(generator, job, lambda piece: queue.put_nowait((number, piece)))))
        except asyncio.CancelledError:  # by the engine; when it is by us, nobody listens any more
            queue.put_nowait((number, BackendUnavailable("The model's engine stopped while it wrote.")))
            raise
        except Exception as e:  # noqa: BLE001 - raised again below, where the caller is
            queue.put_nowait((number, e))

    tasks = [asyncio.create_task(work(number, job)) for number, job in enumerate(jobs)]
    try:
        left = len(jobs)
        while left:
            number, part = await queue.get()
            if isinstance(part, Exception):
                raise part
            left -= isinstance(part, Completion)
            yield number, part
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _generate(generator: Generator, job: _PageRequest, tell: Callable[[str], None]) -> Completion:
    """One generation to its end, or to where it begins to repeat itself."""
    a = job.prompt
    request = Generation(tuple(p.pixels for p in job.pages), a.prompt, a.schema, a.max_tokens, a.repetition_penalty)
    draft = CompletionBuilder(free=a.schema is None)
    chunks = generator.generate(request)
    try:
        async for chunk in chunks:
            tell(draft.add(chunk))
            if draft.is_repeating():
                break
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    return draft.build()


class _PageOrderedStream:
    """Text of several pages, written side by side, told one page after another."""

    def __init__(self, jobs: Sequence[_PageRequest]) -> None:
        self._between = "\n" if any(job.prompt.schema for job in jobs) else "" if any(job.spots for job in jobs) else "\n\n"
        self._streams = [SpottingStream() if job.spots and job.told else None for job in jobs]
        self._told = [job.told for job in jobs]
        self._kept: list[list[str]] = [[] for _ in jobs]
        self._ended = [False] * len(jobs)
        self._turn = 0
        self._begun = False

    def add(self, number: int, piece: str) -> str:
        """A page's text goes on; what can be told now."""
        stream = self._streams[number]
        return self._put(number, stream.feed(piece) if stream else piece)

    def end(self, number: int) -> str:
        """A page's text has ended; what can be told now, of the pages that wrote while it had its turn, too."""
        stream = self._streams[number]
        now = self._put(number, stream.close() if stream else "")
        self._ended[number] = True
        while self._turn < len(self._ended) and self._ended[self._turn]:
            self._turn += 1
            if self._turn < len(self._ended):
                now += self._separated("".join(self._kept[self._turn]), first=True)
        return now

    def _put(self, number: int, piece: str) -> str:
        if not self._told[number] or not piece:
            return ""
        first = not self._kept[number]
        self._kept[number].append(piece)
        return self._separated(piece, first=first) if number == self._turn else ""

    def _separated(self, piece: str, *, first: bool) -> str:
        """The piece, after a break if it is a page's first and others have spoken before."""
        if not piece:
            return ""
        before = self._between if first and self._begun else ""
        self._begun = True
        return before + piece


def _reading(task: Task, done: Sequence[tuple[_PageRequest, Completion]]) -> Reading:
    """All pages' answers as one."""
    lines: list[Line] = []
    texts: list[str] = []
    markdowns: list[str] = []
    fields: list[ExtractedFields] = []
    keys = [spec.key for spec in task.fields]
    for job, written in done:
        if job.spots:
            text, found = made.parse_spotting(written, job.pages[0])
            lines += found
        elif job.prompt.schema is not None:
            text = ""
            fields.append(made.parse_fields(written, keys, job.pages[0]))
        else:
            text, markdown = made.parse_markup(task.kind, written)
            markdowns += [markdown] if markdown else []
        texts += [text] if text else []
    finishes = {written.finish for _, written in done}
    values = made.merge_pages(fields, keys) if fields else None
    marked = task.kind in made.MARKUP_TASKS
    return Reading(
        ("\n" if lines else "\n\n").join(texts),
        tuple(lines),
        values=values.values if values else None,
        confidences=values.confidences() if values else {},
        markdown="\n\n".join(markdowns) if marked else None,
        usage=Usage(sum(w.usage.prompt_tokens for _, w in done), sum(w.usage.completion_tokens for _, w in done)),
        finish_reason=next((f for f in ENDED_EARLY if f in finishes), "stop"),
        notices=tuple(notice for job, written in done for notice in made.truncation_warnings(written, job.pages)),
    )
