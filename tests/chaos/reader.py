"""A reader of a chat, and its observations."""

from __future__ import annotations

import time
from dataclasses import dataclass

from parley.contracts import frames
from parley_client import Generation, ParleyClient, Watch
from parley_client.state import TERMINAL
from tests.chaos.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The text that a reader had assembled of an answer when it ended."""

    message_id: str
    generation_id: str
    attempt: int
    text: str
    reasoning: str


class Reader:
    """Follows one chat over one client, across reconnects.

    Args:
        progress: Records each step of a running answer.

    Attributes:
        observations: One per answer that this reader saw running.
    """

    def __init__(self, name: str, client: ParleyClient, chat_id: str, progress: Progress) -> None:
        self._progress = progress
        self.name = name
        self.client = client
        self.chat_id = chat_id
        self.watch: Watch = client.watch(chat_id, self._observe)
        self.observations: list[Observation] = []
        self._running: Generation | None = None

    def _observe(self, frame: frames.ServerFrame) -> None:
        seen, self._running = self._running, self.watch.state.generation
        if (now := self._running) is not None:
            self._progress.note(now.generation_id, (now.attempt, now.seq, now.status), time.time())
        if seen is None or seen is self._running:
            return
        message = self.watch.state.message(seen.message_id)
        if message is not None and message.status in TERMINAL:
            self.observations.append(
                Observation(
                    message_id=seen.message_id,
                    generation_id=seen.generation_id,
                    attempt=seen.attempt,
                    text=seen.text,
                    reasoning=seen.reasoning,
                )
            )
