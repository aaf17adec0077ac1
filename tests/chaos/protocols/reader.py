"""A client that asks for one answer, and goes on reading after each cut until it has seen the end."""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal

End = Literal["", "complete", "failed", "refused"]
"""How a client's answer ended for it; empty: it did not see the end; refused: the server will not take its request."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What one client asks for.

    Attributes:
        drop_every: Seconds after which, on average, the client itself drops its connection.
    """

    number: int
    model: str
    seed: int
    drop_every: float

    @property
    def prompt(self) -> str:
        return f"answer {self.number}"


@dataclass
class Reading:
    """What one client received.

    Attributes:
        chat_id: Empty while the client does not know it.
        numbers: Of each event, in the order in which they came; none where the protocol has no numbers.
        text, reasoning: As the client shows them.
        cuts: How often it was cut off before the end, and went on.
        problem: What it saw that the protocol does not allow, or the refusal.
    """

    number: int
    chat_id: str = ""
    numbers: list[int] = field(default_factory=list)
    text: str = ""
    reasoning: str = ""
    cuts: int = 0
    end: End = ""
    problem: str = ""


class Reader(ABC):
    """Reads one answer."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.reading = Reading(ask.number)
        self._draw = random.Random(f"{ask.seed}:{ask.number}")

    async def run(self) -> None:
        """Read until the end."""
        while True:
            try:
                async with asyncio.timeout(self._draw.uniform(0.5, 1.5) * self.ask.drop_every):
                    await self._read()
            except TimeoutError:
                pass
            if self.reading.end:
                return
            self.reading.cuts += 1
            await asyncio.sleep(self._draw.uniform(0.1, 1.0))

    @abstractmethod
    async def _read(self) -> None:
        """Ask for the answer, or go on with it, and return at the end or when cut off. May be cancelled."""

    def _refuse(self, problem: str) -> None:
        self.reading.end = "refused"
        self.reading.problem = problem


Connect = Callable[[str, str], AbstractAsyncContextManager[Callable[[Ask], Reader]]]
"""Opens what all readers of a protocol share, with the gateway's address and an API key; then makes readers."""


def is_refusal(status: int) -> bool:
    """Whether a response with this status would come again."""
    return 400 <= status < 500 and status != 429
