"""Access to the memory that Gradio uses for open pages. This is the only module that uses internals of Gradio.

Gradio keeps the messages of events until the page fetches them, for up to 2,000 pages, and the values of all components, for up
to 10,000 pages. Neither has a time limit.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from gradio.blocks import Blocks
from gradio.routes import App
from gradio.server_messages import ProcessCompletedMessage
from gradio.state_holder import SessionState, StateHolder


class _LeanState(SessionState):  # type: ignore[misc]  # Gradio is untyped for us
    """The state of a page without the values of its components, which only deep links need; those are not served."""

    def __init__(self, blocks: Blocks) -> None:
        super().__init__(blocks)
        self.config_values.clear()

    def __setitem__(self, key: int, value: Any) -> None:
        super().__setitem__(key, value)
        self.config_values.clear()

    def _update_config(self, key: int) -> None:
        """Store nothing."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Store nothing."""


class _LeanStates(StateHolder):  # type: ignore[misc]
    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = _LeanState(self.blocks)
        return super().__getitem__(session_id)


class GradioMemory:
    """The messages and states of the open pages of one Gradio app, by the page id of Gradio."""

    def __init__(self, app: App, max_events: int) -> None:
        """Limit the concurrent events to `max_events`. With the default of 40, waiting events of one user would block others."""
        self._blocks = app.get_blocks()
        self._queue = self._blocks._queue
        self._queue.max_thread_count = max_events
        states = _LeanStates()
        states.set_blocks(self._blocks)
        app.state_holder = states
        self._states = states

    def running(self) -> Counter[str]:
        """Return the number of waiting and running events of each page."""
        return Counter(event.session_hash for event in self._queue.event_ids_to_events.values())

    def finished(self) -> Counter[str]:
        """Return the number of unfetched results of each page."""
        pages = self._queue.pending_messages_per_session
        return Counter({page: count for page in pages if (count := len(self._results(page)))})

    def waiting_bytes(self, page: str) -> int:
        """Return the size of the unfetched results of a page, in characters."""
        return sum(_size(message.output.get("data")) for message in self._results(page))

    def pages(self) -> set[str]:
        """Return all pages with messages, events or state."""
        queue = self._queue
        return {*self._states.session_data, *queue.pending_messages_per_session, *queue.pending_event_ids_session}

    async def forget_messages(self, page: str) -> None:
        """Drop unfetched results and waiting events of the page, and the results of its running events."""
        queue = self._queue
        if page in queue.pending_messages_per_session or page in queue.pending_event_ids_session:
            await queue.clean_events(session_hash=page)
            queue.pending_messages_per_session.pop(page, None)
            queue.pending_event_ids_session.pop(page, None)

    async def forget(self, page: str) -> None:
        """Drop messages, events and state of the page."""
        await self.forget_messages(page)
        self._states.delete_state(page)
        self._states.session_data.pop(page, None)
        self._states.time_last_used.pop(page, None)

    def prune(self, page: str) -> None:
        """Drop ids of events that ended without a listener; Gradio would keep a stream open for them."""
        ids = self._queue.pending_event_ids_session.get(page)
        if ids is not None:
            running = {number for number, event in self._queue.event_ids_to_events.items() if event.session_hash == page}
            ids &= running | {message.event_id for message in self._results(page)}

    def _results(self, page: str) -> list[ProcessCompletedMessage]:
        pending: Any = self._queue.pending_messages_per_session.get(page)
        messages = () if pending is None else pending._queue
        return [message for message in messages if isinstance(message, ProcessCompletedMessage)]


def _size(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, (list, tuple)) else 8
