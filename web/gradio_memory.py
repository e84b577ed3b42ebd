"""What Gradio keeps of open pages in memory, and how it is forgotten. Everything that knows Gradio's internals stands here.

Gradio keeps the messages of an event until the page's stream fetches them, up to 2,000 pages of them, and the values that every
component of a page has shown, up to 10,000 pages of them; it forgets neither by time.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from gradio.blocks import Blocks
from gradio.routes import App
from gradio.server_messages import ProcessCompletedMessage
from gradio.state_holder import SessionState, StateHolder


class _LeanState(SessionState):  # type: ignore[misc]  # Gradio is untyped for us
    """A page's state without the values that its components have shown. Only deep links need them, which are not served."""

    def __init__(self, blocks: Blocks) -> None:
        super().__init__(blocks)
        self.config_values.clear()

    def __setitem__(self, key: int, value: Any) -> None:
        super().__setitem__(key, value)
        self.config_values.clear()

    def _update_config(self, key: int) -> None:
        """Keep nothing."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Keep nothing."""


class _LeanStates(StateHolder):  # type: ignore[misc]
    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = _LeanState(self.blocks)
        return super().__getitem__(session_id)


class GradioMemory:
    """The messages and states of open pages of one Gradio app; a page is known by the id that Gradio has for it."""

    def __init__(self, app: App, max_events: int) -> None:
        """`max_events` may run at a time. Gradio's own 40 would let the waiting events of one person hold up everybody's."""
        self._blocks = app.get_blocks()
        self._queue = self._blocks._queue
        self._queue.max_thread_count = max_events
        states = _LeanStates()
        states.set_blocks(self._blocks)
        app.state_holder = states
        self._states = states

    def running(self) -> Counter[str]:
        """How many events of each page wait or run."""
        return Counter(event.session_hash for event in self._queue.event_ids_to_events.values())

    def finished(self) -> Counter[str]:
        """How many events of each page have a result that nobody has fetched."""
        pages = self._queue.pending_messages_per_session
        return Counter({page: count for page in pages if (count := len(self._results(page)))})

    def waiting_bytes(self, page: str) -> int:
        """Characters of the results of a page that nobody has fetched."""
        return sum(_size(message.output.get("data")) for message in self._results(page))

    def pages(self) -> set[str]:
        """All pages of which anything is kept."""
        queue = self._queue
        return {*self._states.session_data, *queue.pending_messages_per_session, *queue.pending_event_ids_session}

    async def forget_messages(self, page: str) -> None:
        """Drop what nobody has fetched. Events that wait are not run, and what those that run will send is dropped."""
        queue = self._queue
        if page in queue.pending_messages_per_session or page in queue.pending_event_ids_session:
            await queue.clean_events(session_hash=page)
            queue.pending_messages_per_session.pop(page, None)
            queue.pending_event_ids_session.pop(page, None)

    async def forget(self, page: str) -> None:
        """Drop everything of the page."""
        await self.forget_messages(page)
        self._states.delete_state(page)
        self._states.session_data.pop(page, None)
        self._states.time_last_used.pop(page, None)

    def prune(self, page: str) -> None:
        """Drop ids of events that ended while nobody listened: Gradio would keep a stream open for them."""
        ids = self._queue.pending_event_ids_session.get(page)
        if ids is not None:
            running = {number for number, event in self._queue.event_ids_to_events.items() if event.session_hash == page}
            ids &= running | {message.event_id for message in self._results(page)}

    def _results(self, page: str) -> list[ProcessCompletedMessage]:
        waiting: Any = self._queue.pending_messages_per_session.get(page)
        messages = () if waiting is None else waiting._queue
        return [message for message in messages if isinstance(message, ProcessCompletedMessage)]


def _size(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, (list, tuple)) else 8
