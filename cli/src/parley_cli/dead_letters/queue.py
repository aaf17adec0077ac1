"""The dead-letter queue: the stream DEAD_LETTERS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from parley.contracts import streams, subjects
from parley.runtime.nats.publish import publish_durable_raw
from parley.runtime.nats.requirements import require
from parley_cli import actions
from parley_cli.commands import Action, Output
from parley_cli.dead_letters.dead_letter import DeadLetter, read
from parley_cli.dead_letters.errors import NoOriginalSubject, NoSuchDeadLetter
from parley_cli.servers import check_jetstream

_DEADLINE = 10.0


class DeadLetterQueue:
    """Reads, replays and drops dead letters."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def letters(self, consumer: str | None = None) -> AsyncIterator[DeadLetter]:
        """Yield all dead letters (of ``consumer``), oldest first."""
        subject = subjects.dead_letter(consumer, "*") if consumer else subjects.ANY_DEAD_LETTER
        number = 1
        while True:
            try:
                message = await self._js.get_msg(streams.DEAD_LETTERS.name, seq=number, subject=subject, next=True)
            except NotFoundError:
                return
            letter = read(message)
            yield letter
            number = letter.number + 1

    async def letter(self, number: int) -> DeadLetter:
        """Return the dead letter with that number. Raises NoSuchDeadLetter."""
        try:
            return read(await self._js.get_msg(streams.DEAD_LETTERS.name, seq=number))
        except NotFoundError:
            raise NoSuchDeadLetter(number) from None

    async def replay(self, number: int) -> DeadLetter:
        """Publish the body on its original subject, then remove the dead letter.

        At least once, deduplicated by ``DeadLetter.replay_id``; removed only after the PubAck. A message that fails
        again becomes a new dead letter.

        Raises:
            NoSuchDeadLetter
            NoOriginalSubject
            BusUnavailable: It was not acknowledged; the dead letter stays.
        """
        letter = await self.letter(number)
        if letter.subject is None:
            raise NoOriginalSubject(number)
        await publish_durable_raw(
            self._js, letter.subject, letter.body, letter.replay_id, deadline=_DEADLINE, headers=letter.headers
        )
        await self.drop(number)
        return letter

    async def drop(self, number: int) -> None:
        """Remove the dead letter for good. Raises NoSuchDeadLetter."""
        await self.letter(number)
        await self._js.delete_msg(streams.DEAD_LETTERS.name, number)


def run(action: Action, *, timeout: float, **options: Any) -> int:
    """Carry out an action on the queue and return the exit code."""

    async def on_queue(nc: Client) -> AsyncIterator[Output]:
        await check_jetstream(nc)
        js = nc.jetstream(timeout=10)
        await require(js, streams=(streams.DEAD_LETTERS,))
        async for output in action(DeadLetterQueue(js)):
            yield output

    return actions.run(
        on_queue,
        client_name="parley-dead-letters",
        too_late=f"NATS did not complete all requests within {timeout:g} seconds. What was printed is done. "
        "Allow more time with --timeout SECONDS.",
        timeout=timeout,
        **options,
    )
