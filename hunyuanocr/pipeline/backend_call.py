"""One call of a backend, limited by the deadline."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from hunyuanocr.backends.base import Backend
from hunyuanocr.errors import BackendFailed, HunyuanOcrError
from hunyuanocr.pipeline.deadline import Deadline
from hunyuanocr.types import Page, Progress, Reading, Task, TextDelta


async def read_within_deadline(
    backend: Backend, pages: Sequence[Page], task: Task, deadline: Deadline
) -> AsyncGenerator[TextDelta | Progress | Reading, None]:
    """Yield the backend's parts, each awaited within the deadline. Raises BackendFailed for an unexpected exception.

    Use it with `contextlib.aclosing`, which cancels the work.
    """
    parts = backend.read(pages, task)
    try:
        while True:
            try:
                part = await deadline.within(anext(parts))
            except StopAsyncIteration:
                return
            yield part
    except (HunyuanOcrError, GeneratorExit):
        raise
    except Exception as e:
        raise BackendFailed(f"The OCR backend failed on this image ({type(e).__name__}).") from e
    finally:
        if isinstance(parts, AsyncGenerator):
            await parts.aclose()
