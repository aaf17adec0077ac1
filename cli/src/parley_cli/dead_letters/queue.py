"""The stream DEAD_LETTERS, as an operator sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from parley.contracts import streams, subjects
from parley.runtime.nats.publish import publish_durable_raw
from parley_cli.dead_letters.dead_letter import Letter, read
from parley_cli.dead_letters.errors import NoAddress, NoSuchLetter

_DEADLINE = 10.0


class DeadLetterBox:
    """Reads the dead letters, sends them again, or drops them."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def letters(self, consumer: str | None = None) -> AsyncIterator[Letter]:
        """Yield all letters (of ``consumer``), the oldest first."""
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

    async def letter(self, number: int) -> Letter:
        """Return the letter of that number. Raises NoSuchLetter."""
        try:
            return read(await self._js.get_msg(streams.DEAD_LETTERS.name, seq=number))
        except NotFoundError:
            raise NoSuchLetter(number) from None

    async def replay(self, number: int) -> Letter:
        """Publish the letter's body on the subject it came from, then remove the letter.

        At least once, deduplicated by the letter's own ``replay_id``; removed only after the PubAck. What fails again
        comes back as a new letter.

        Raises:
            NoSuchLetter: it is gone.
            NoAddress: it does not say where it came from.
            BusUnavailable: no acknowledgement came; the letter stays.
        """
        letter = await self.letter(number)
        if letter.subject is None:
            raise NoAddress(number)
        await publish_durable_raw(
            self._js, letter.subject, letter.body, letter.replay_id, deadline=_DEADLINE, headers=letter.headers
        )
        await self.drop(number)
        return letter

    async def drop(self, number: int) -> None:
        """Remove the letter for good. Raises NoSuchLetter."""
        await self.letter(number)
        await self._js.delete_msg(streams.DEAD_LETTERS.name, number)
