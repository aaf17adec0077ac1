"""Following one chat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, TypeVar

from parley.contracts import frames
from parley.contracts.resources import Message
from parley_client.errors import ConnectionRefused
from parley_client.state import TERMINAL, ChatState, Outcome

if TYPE_CHECKING:
    from parley_client.client import ParleyClient

T = TypeVar("T")


class Watch:
    """A chat as it grows; an asynchronous context manager.

    ``async for state in watch`` gives the state after changes. Whoever is slow sees fewer, newer states, never a queue.

    Attributes:
        state: What is assembled so far.
        gaps: How often something was missing and was asked for again.
        doubled: How many deltas came that were there already.
        on_frame: Called with every frame that was applied.
    """

    def __init__(
        self, connection: ParleyClient, chat_id: str, on_frame: Callable[[frames.ServerFrame], None] | None = None
    ) -> None:
        self.state = ChatState(chat_id)
        self.gaps = 0
        self.doubled = 0
        self.on_frame = on_frame
        self._connection = connection
        self._changes = 0
        self._waker = asyncio.Event()
        self._failure: ConnectionRefused | None = None
        self._closed = False

    @property
    def chat_id(self) -> str:
        return self.state.chat_id

    # --- for the connection ------------------------------------------------------------------------------------------

    def receive(self, frame: frames.ServerFrame) -> None:
        """Merge a frame; ask again when something is missing."""
        if isinstance(frame, frames.Error):
            self.fail(ConnectionRefused(frame.code, frame.message))
            return
        match self.state.merge(frame):
            case Outcome.APPLIED:
                if self.on_frame is not None:
                    self.on_frame(frame)
                self._wake()
            case Outcome.GAP:
                self.gaps += 1
                self._connection.rewatch(self)
            case Outcome.IGNORED:
                self.doubled += isinstance(frame, frames.Delta)

    def fail(self, failure: ConnectionRefused) -> None:
        """The chat cannot be followed any more."""
        self._failure = failure
        self._wake()

    # --- for the reader ----------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Watch:
        self._connection.add(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        self._wake()
        self._connection.remove(self)

    async def __aiter__(self) -> AsyncIterator[ChatState]:
        seen = 0
        while not self._closed:
            while self._changes == seen and not self._closed:
                await self._waker.wait()
            seen = self._changes
            if self._failure is not None:
                raise self._failure
            yield self.state

    async def until(self, condition: Callable[[ChatState], T | None], *, timeout: float = 60.0) -> T:
        """Wait for the first state for which ``condition`` gives something, and return that.

        Raises:
            TimeoutError: ``timeout`` seconds passed.
            ConnectionRefused: The chat cannot be followed.
        """
        if found := condition(self.state):
            return found
        async with asyncio.timeout(timeout):
            async for state in self:
                if found := condition(state):
                    return found
        raise TimeoutError("the watch was closed")

    async def answer_to(self, prompt_id: str, *, timeout: float = 60.0) -> Message:
        """Wait until the (first) answer to a prompt has ended, and return it as stored."""

        def ended(state: ChatState) -> Message | None:
            return next((answer for answer in state.answers_to(prompt_id) if answer.status in TERMINAL), None)

        return await self.until(ended, timeout=timeout)

    def _wake(self) -> None:
        self._changes += 1
        waker, self._waker = self._waker, asyncio.Event()
        waker.set()
