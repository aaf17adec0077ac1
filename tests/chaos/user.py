"""A simulated user: sends, waits, stops, edits, regenerates, and never gives up on a message."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable
from dataclasses import dataclass

from parley.contracts.ids import new_id
from parley.contracts.resources import Message
from parley_client import ClientError, NotReachable, ParleyClient, Problem
from parley_client.state import TERMINAL
from tests.chaos.history import History, Sent
from tests.chaos.progress import Progress
from tests.chaos.reader import Reader


@dataclass(frozen=True)
class _Model:
    name: str
    weight: int
    tokens: int | None = None


_MODELS = (
    _Model("demo-rate-40x160", 5, 160),
    _Model("demo-rate-100x300", 3, 300),
    _Model("demo-rate-25x200", 3, 200),
    _Model("demo-fast", 2),
    _Model("demo-reasoning", 1),
    _Model("demo-cut-once", 1),
    _Model("demo-error-mid-stream-once", 1),
    _Model("demo-error-429-once", 1),
    _Model("demo-error-500-once", 1),
)
_WORDS = (
    *("river", "stone", "lantern", "über", "naïve", "漢字", "🦜", "quiet", "'quoted'"),
    *('"double"', "<b>tag</b>", "\\slash", "tab\there", "line\nbreak"),
)
_ANSWER_TIMEOUT = 25.0


class User:
    """A user who sends messages to one chat.

    Attributes:
        pending: Messages that were not accepted yet.
    """

    def __init__(
        self,
        number: int,
        client: ParleyClient,
        chat_id: str,
        history: History,
        progress: Progress,
        draw: random.Random,
    ) -> None:
        self.number = number
        self.client = client
        self.chat_id = chat_id
        self.pending = 0
        self.reader = Reader(f"user {number}", client, chat_id, progress)
        self._history = history
        self._draw = draw
        self._count = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Send until ``stop``; return once every message that was begun is accepted."""
        while not stop.is_set():
            chance = self._draw.random()
            if chance < 0.12:
                await self._burst()
            elif chance < 0.20:
                await self._stop()
            elif chance < 0.26:
                await self._edit()
            elif chance < 0.32:
                await self._regenerate()
            else:
                await self._wait_for_answer(await self._send())
            await asyncio.sleep(self._draw.uniform(0.0, 1.0))

    # --- actions -----------------------------------------------------------------------------------------------

    async def _burst(self) -> None:
        """Send several messages at once, which queue; sometimes delete the last one."""
        sent = [await self._send() for _ in range(self._draw.randint(2, 4))]
        if self._draw.random() < 0.3:
            withdrawn = sent.pop()
            withdrawn.deleted = True
            await self._ask(self.client.api.delete_message(self.chat_id, withdrawn.message_id), "delete")
        await self._wait_for_answer(sent[-1])

    async def _stop(self) -> None:
        sent = await self._send()
        await asyncio.sleep(self._draw.uniform(0.0, 3.0))
        if await self._ask(self.client.api.stop(self.chat_id), "stop"):
            self._history.stops += 1
        await self._wait_for_answer(sent)

    async def _edit(self) -> None:
        """Send another version of an earlier message."""
        prompts = [each for each in self._messages() if each.role == "user" and each.status == "sent"]
        if prompts:
            await self._wait_for_answer(await self._send(parent_id=self._draw.choice(prompts).parent_id))

    async def _regenerate(self) -> None:
        answers = [each for each in self._messages() if each.role == "assistant" and each.status in TERMINAL]
        if not answers:
            return
        answer = self._draw.choice(answers)
        sent = self._history.sent.get((self.chat_id, answer.parent_id or ""))
        if sent is None:
            return
        # When the response is lost, the regeneration may exist, and so may that of the retry.
        sent.maybe_regenerated += 1
        if await self._ask(self.client.api.regenerate(self.chat_id, answer.id), "regenerate"):
            sent.regenerated += 1

    # --- requests ------------------------------

    async def _send(self, **fields: str | None) -> Sent:
        model = self._draw.choices(_MODELS, [model.weight for model in _MODELS])[0]
        sent = self._history.add(
            Sent(
                chat_id=self.chat_id,
                message_id=new_id(),
                content=self._words(),
                model=model.name,
                tokens=model.tokens,
            )
        )
        self.pending += 1
        try:
            if self._draw.random() < 0.1:
                self._history.duplicates += 1
                await asyncio.gather(*(self._until_accepted(sent, fields) for _ in range(3)))
            else:
                await self._until_accepted(sent, fields)
        finally:
            self.pending -= 1
        return sent

    async def _until_accepted(self, sent: Sent, fields: dict[str, str | None]) -> None:
        while True:
            try:
                await self.client.api.send(
                    sent.chat_id, sent.content, message_id=sent.message_id, model=sent.model, **fields
                )
            except NotReachable:
                continue  # after a minute of retries with backoff
            except Problem as problem:
                self._history.refusals.append(f"send: {problem}")
                return
            sent.accepted_at = sent.accepted_at or time.time()
            return

    async def _ask(self, request: Awaitable[object], what: str) -> bool:
        """Return whether the request succeeded; a conflict is a valid response, too."""
        try:
            await request
        except NotReachable:
            return False
        except Problem as problem:
            if problem.status not in (404, 409):
                self._history.refusals.append(f"{what}: {problem}")
            return False
        return True

    async def _wait_for_answer(self, sent: Sent) -> None:
        """Wait for the answer, with a timeout."""
        with contextlib.suppress(TimeoutError, ClientError):
            await self.reader.watch.answer_to(sent.message_id, timeout=_ANSWER_TIMEOUT)

    def _messages(self) -> list[Message]:
        return self.reader.watch.state.messages

    def _words(self) -> str:
        self._count += 1
        words = [f"{self.number}.{self._count}", *self._draw.choices(_WORDS, k=self._draw.randint(1, 12))]
        text = " ".join(words)
        return text * 200 if self._draw.random() < 0.03 else text
