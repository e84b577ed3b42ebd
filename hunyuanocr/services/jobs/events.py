"""Events of jobs inside this process. The service, the workers and the webhooks meet here and do not know each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec

from hunyuanocr.types import Progress

P = ParamSpec("P")


class Topic(Generic[P]):
    """One kind of event. Handlers run at once, in the order of their subscription, and must neither block nor raise."""

    def __init__(self) -> None:
        self._handlers: list[Callable[P, None]] = []

    def subscribe(self, handler: Callable[P, None]) -> Callable[[], None]:
        """Call `handler` for each event from now on. Return a function that ends the subscription."""
        self._handlers.append(handler)
        return lambda: self._handlers.remove(handler)

    def publish(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call all handlers. For the thread of the event loop only."""
        for handler in tuple(self._handlers):
            handler(*args, **kwargs)


class JobEvents:
    """All events of jobs. Another process at the same database publishes none here: who depends on it has to poll as well."""

    def __init__(self) -> None:
        self.submitted: Topic[[]] = Topic()  # a job may be claimed: a new one, or one that was queued again
        self.progress: Topic[[str, Progress]] = Topic()  # job id, pages read so far
        self.read: Topic[[str, float | None]] = Topic()  # job id, seconds of the recognition; None when it was cancelled
        self.cancelled: Topic[[str]] = Topic()  # job id; its recognition, if it is running, must stop
        self.finished: Topic[[str]] = Topic()  # job id; done, failed or cancelled, and stored
        self.webhook_due: Topic[[]] = Topic()  # a message may be sent without a job having finished just now
