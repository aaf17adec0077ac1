"""Ending a stretch of a task's work from outside, without ending the task."""

import asyncio
from types import TracebackType


class Interruption:
    """``async with interruption:`` leaves its body early when :meth:`interrupt` is called.

    As :func:`asyncio.timeout` does, with a call in place of a clock. The body sees a ``CancelledError``; after the
    ``async with``, ``happened`` says whether it was interrupted. Once it happened, a body is left at its first wait.
    """

    def __init__(self) -> None:
        self.happened = False
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._delivered = False

    def interrupt(self) -> None:
        self.happened = True
        self._deliver()

    def _deliver(self) -> None:
        if self._task is not None and not self._delivered:
            self._delivered = True
            self._task.cancel()

    async def __aenter__(self) -> "Interruption":
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("no task to interrupt")
        self._cancelling = self._task.cancelling()
        self._delivered = False
        if self.happened:
            self._deliver()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        assert task is not None
        # Only our own cancellation ends here; one of the whole task, also at the same moment, goes on.
        return (
            self._delivered
            and task.uncancel() <= self._cancelling
            and kind is not None
            and issubclass(kind, asyncio.CancelledError)
        )
