"""A Backend on top of any Generator: task → prompt and schema → tokens → Reading. Independent of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from hunyuanocr.backends.base import Generation, Generator, Health
from hunyuanocr.backends.vlm.parsing import (
    ENDED_EARLY,
    MARKUP_TASKS,
    Completion,
    CompletionBuilder,
    ExtractedFields,
    merge_pages,
    parse_fields,
    parse_markup,
    parse_spotting,
    truncation_warnings,
)
from hunyuanocr.errors import BackendUnavailable
from hunyuanocr.output.spotting import SpottingStream
from hunyuanocr.prompts import SPOTTING, Prompt, build_prompt
from hunyuanocr.types import EvidenceMode, Line, Page, PageValues, Progress, Reading, Task, TaskKind, TextDelta, Usage

MAX_CONCURRENT_PAGES = 4  # of one document; other requests need the engine as well
MAX_PAGES_PER_PROMPT = 8  # of a free question; longer documents are processed page by page


@dataclass(frozen=True)
class _PageRequest:
    """One generation: the prompt, its pages, and whether its text is streamed."""

    prompt: Prompt
    pages: tuple[Page, ...]
    streamed: bool = True

    @property
    def spots(self) -> bool:
        return self.prompt.prompt == SPOTTING


class VlmBackend:
    """Recognises pages with a language model. The results of several pages are merged in page order.

    A field of a document comes from the first page that has it, rows from all pages. Text deltas are the generated text (for
    spotting: lines without coordinates), one page after another.
    """

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self.name = generator.name
        self.model = generator.model
        self.tasks = frozenset(TaskKind)
        self.scripts: tuple[str, ...] = ()

    async def start(self) -> None:
        """Load the engine. Raises its errors."""
        await self._generator.start()
        self.model = self._generator.model

    async def health(self) -> Health:
        """Return the state of the engine."""
        return await self._generator.health()

    async def close(self) -> None:
        """Release the engine's memory. May be called twice."""
        await self._generator.close()

    async def read(self, pages: Sequence[Page], task: Task) -> AsyncGenerator[TextDelta | Progress | Reading, None]:
        """Yield deltas and progress, then one Reading. `contextlib.aclosing` cancels all generations.

        Raises InvalidSchema and InvalidValue (see `prompts.build_prompt`), OutputTruncated, BackendFailed, and the engine's
        errors.
        """
        requests = _page_requests(build_prompt(task), tuple(pages), task)
        completions: dict[int, Completion] = {}
        stream = _PageOrderedStream(requests)
        async with aclosing(_run_concurrently(self._generator, requests)) as parts:
            async for number, part in parts:
                if isinstance(part, Completion):
                    completions[number] = part
                text = stream.finish(number) if isinstance(part, Completion) else stream.add(number, part)
                if text:
                    yield TextDelta(text)
                if isinstance(part, Completion) and len(pages) > 1:
                    yield Progress(len(completions) * len(pages) // len(requests), len(pages))
        yield _reading(task, [(request, completions[n]) for n, request in enumerate(requests)])


def _page_requests(prompt: Prompt, pages: tuple[Page, ...], task: Task) -> list[_PageRequest]:
    if task.kind is TaskKind.FREE and prompt.prompt != SPOTTING and len(pages) <= MAX_PAGES_PER_PROMPT:
        return [_PageRequest(prompt, pages)]
    requests = [_PageRequest(prompt, (page,)) for page in pages]
    if task.kind is TaskKind.EXTRACT and task.evidence is EvidenceMode.FULL:
        spotting = build_prompt(Task(TaskKind.SPOT))
        requests += [_PageRequest(spotting, (page,), streamed=False) for page in pages]
    return requests


async def _run_concurrently(
    generator: Generator, requests: Sequence[_PageRequest]
) -> AsyncGenerator[tuple[int, str | Completion], None]:
    """Yield text of all requests as it is generated, with the index of its request, and the Completion of each request.

    The first error cancels all requests.
    """
    queue: asyncio.Queue[tuple[int, str | Completion | Exception]] = asyncio.Queue()
    slots = asyncio.Semaphore(MAX_CONCURRENT_PAGES)

    async def work(number: int, request: _PageRequest) -> None:
        try:
            async with slots:
                completion = await _generate(generator, request, lambda text: queue.put_nowait((number, text)))
                queue.put_nowait((number, completion))
        except asyncio.CancelledError:  # by the engine; after a cancellation by the caller the queue is no longer read
            queue.put_nowait((number, BackendUnavailable("The model's engine stopped during generation.")))
            raise
        except Exception as e:  # noqa: BLE001 - raised again below, in the caller's context
            queue.put_nowait((number, e))

    tasks = [asyncio.create_task(work(number, request)) for number, request in enumerate(requests)]
    try:
        remaining = len(requests)
        while remaining:
            number, part = await queue.get()
            if isinstance(part, Exception):
                raise part
            remaining -= isinstance(part, Completion)
            yield number, part
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _generate(generator: Generator, request: _PageRequest, on_text: Callable[[str], None]) -> Completion:
    """Run one generation until it is complete, or begins to repeat itself."""
    prompt = request.prompt
    images = tuple(page.pixels for page in request.pages)
    generation = Generation(images, prompt.prompt, prompt.schema, prompt.max_tokens, prompt.repetition_penalty)
    builder = CompletionBuilder(free=prompt.schema is None)
    chunks = generator.generate(generation)
    try:
        async for chunk in chunks:
            on_text(builder.add(chunk))
            if builder.is_repeating():
                break
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    return builder.build()


class _PageOrderedStream:
    """Text of several pages, generated concurrently and streamed one page after another."""

    def __init__(self, requests: Sequence[_PageRequest]) -> None:
        spotting = any(request.spots for request in requests)
        self._separator = "\n" if any(request.prompt.schema for request in requests) else "" if spotting else "\n\n"
        self._parsers = [SpottingStream() if request.spots and request.streamed else None for request in requests]
        self._streamed = [request.streamed for request in requests]
        self._texts: list[list[str]] = [[] for _ in requests]
        self._finished = [False] * len(requests)
        self._current = 0  # the page that is streamed
        self._started = False

    def add(self, number: int, text: str) -> str:
        """Add text of a page; return the text that can be streamed now."""
        parser = self._parsers[number]
        return self._put(number, parser.feed(text) if parser else text)

    def finish(self, number: int) -> str:
        """Finish a page; return the text that can be streamed now, including that of the following pages."""
        parser = self._parsers[number]
        text = self._put(number, parser.close() if parser else "")
        self._finished[number] = True
        while self._current < len(self._finished) and self._finished[self._current]:
            self._current += 1
            if self._current < len(self._finished):
                text += self._separated("".join(self._texts[self._current]), first=True)
        return text

    def _put(self, number: int, text: str) -> str:
        if not self._streamed[number] or not text:
            return ""
        first = not self._texts[number]
        self._texts[number].append(text)
        return self._separated(text, first=first) if number == self._current else ""

    def _separated(self, text: str, *, first: bool) -> str:
        """Return the text, after a separator if it is the first of a page and other pages precede it."""
        if not text:
            return ""
        separator = self._separator if first and self._started else ""
        self._started = True
        return separator + text


def _reading(task: Task, done: Sequence[tuple[_PageRequest, Completion]]) -> Reading:
    """Merge the completions of all pages."""
    lines: list[Line] = []
    texts: list[str] = []
    markdowns: list[str] = []
    fields: list[ExtractedFields] = []
    read: list[PageValues] = []
    keys = [spec.key for spec in task.fields]
    for request, completion in done:
        if request.spots:
            text, page_lines = parse_spotting(completion, request.pages[0])
            lines += page_lines
        elif request.prompt.schema is not None:
            text = ""
            fields.append(parse_fields(completion, keys, request.pages[0]))
            read.append(PageValues(request.pages[0].index, fields[-1].values, fields[-1].confidences()))
        else:
            text, markdown = parse_markup(task.kind, completion)
            markdowns += [markdown] if markdown else []
        texts += [text] if text else []
    finishes = {completion.finish for _, completion in done}
    values = merge_pages(fields, keys) if fields else None
    has_markdown = task.kind in MARKUP_TASKS
    return Reading(
        ("\n" if lines else "\n\n").join(texts),
        tuple(lines),
        values=values.values if values else None,
        confidences=values.confidences() if values else {},
        markdown="\n\n".join(markdowns) if has_markdown else None,
        usage=Usage(sum(c.usage.prompt_tokens for _, c in done), sum(c.usage.completion_tokens for _, c in done)),
        finish_reason=next((f for f in ENDED_EARLY if f in finishes), "stop"),
        page_values=tuple(read) if len(read) > 1 else (),
        notices=tuple(warning for request, c in done for warning in truncation_warnings(c, request.pages)),
    )
