"""A reader of a chat, and what it will testify to."""

from __future__ import annotations

import time
from dataclasses import dataclass

from parley.contracts import frames
from parley_client import Generation, ParleyClient, Watch
from parley_client.state import TERMINAL
from tests.chaos.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Witness:
    """What a reader had assembled of an answer at the moment it was told that the answer is over."""

    message_id: str
    generation_id: str
    attempt: int
    text: str
    reasoning: str


class Reader:
    """Follows one chat over one connection, whatever happens to it.

    Args:
        progress: Is told of every step of a running answer.

    Attributes:
        witnesses: One per answer that this reader saw growing.
    """

    def __init__(self, name: str, client: ParleyClient, chat_id: str, progress: Progress) -> None:
        self._progress = progress
        self.name = name
        self.client = client
        self.chat_id = chat_id
        self.watch: Watch = client.watch(chat_id, self._look)
        self.witnesses: list[Witness] = []
        self._running: Generation | None = None

    def _look(self, frame: frames.ServerFrame) -> None:
        seen, self._running = self._running, self.watch.state.generation
        if (now := self._running) is not None:
            self._progress.note(now.generation_id, (now.attempt, now.seq, now.status), time.time())
        if seen is None or seen is self._running:
            return
        message = self.watch.state.message(seen.message_id)
        if message is not None and message.status in TERMINAL:
            self.witnesses.append(
                Witness(
                    message_id=seen.message_id,
                    generation_id=seen.generation_id,
                    attempt=seen.attempt,
                    text=seen.text,
                    reasoning=seen.reasoning,
                )
            )
