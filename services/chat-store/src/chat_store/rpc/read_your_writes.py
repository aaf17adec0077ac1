"""Waiting for what was accepted and is not stored yet.

A prompt's sender has a 202 as soon as the stream has it; the leader stores it some time later. Whatever the sender does
next to that message (stop it, take it back, have it answered again, branch from it) must find it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec
import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg

from chat_store.errors import Unavailable
from chat_store.storage import messages
from chat_store.storage.pool import Database
from parley.contracts import subjects
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.ids import is_id
from parley.contracts.streams import CHAT, CHAT_STORE_PROMPTS
from parley.runtime.nats.errors import TRANSIENT_ERRORS

R = TypeVar("R")

WAIT_TIMEOUT: Final = 2.0
"""Seconds until the request is refused as unavailable; less than the gateway waits for a reply."""

_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.2


class Accepted:
    """What the stream ``CHAT`` has accepted."""

    def __init__(self, js: JetStreamContext, database: Database) -> None:
        self._js = js
        self._database = database

    async def carry_out(
        self,
        chat_id: str,
        attempt: Callable[[], Awaitable[R]],
        *,
        again: Callable[[R], bool],
        author_id: Callable[[R], str | None] = lambda _: None,
    ) -> R:
        """Return what ``attempt`` does once it finds what was accepted in the chat before this call.

        Args:
            attempt: Tried at once, and again when a prompt of the chat, which it did not find, has been stored.
            again: Whether a result may be due to such a prompt.
            author_id: If it returns a user for such a result, only the user's own prompt is waited for: who is no
                member learns nothing by how long a reply takes.

        Raises:
            Unavailable: it is not stored in time, or the stream cannot be asked.
        """
        result = await attempt()
        if again(result) and await self._wait(chat_id, author_id(result)):
            result = await attempt()
        return result

    async def _wait(self, chat_id: str, author_id: str | None) -> bool:
        """Return when the chat's newest prompt is handled; False: the stream has none, or none of this author."""
        try:
            async with asyncio.timeout(WAIT_TIMEOUT):
                last = await self._last_prompt(chat_id)
                if last is not None and author_id is not None and not _is_of(last, author_id):
                    return False
                pause = _FIRST_PAUSE
                while last is not None and not await self._is_handled(chat_id, last):
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
        except TRANSIENT_ERRORS as error:
            raise Unavailable("What was sent to this chat is not stored yet. Try again in a moment.") from error
        return last is not None

    async def _last_prompt(self, chat_id: str) -> RawStreamMsg | None:
        try:
            return await self._js.get_last_msg(CHAT.name, subjects.prompt_submitted(chat_id))
        except nats.js.errors.NotFoundError:
            return None

    async def _is_handled(self, chat_id: str, last: RawStreamMsg) -> bool:
        """Whether a prompt was stored or rejected, or is below the acknowledgement floor: then it never will be."""
        with contextlib.suppress(*UNDECODABLE):
            message_id = msgspec.json.decode(last.data or b"", type=_Named).message_id
            async with self._database.connection() as connection:
                if is_id(message_id) and await messages.is_handled(connection, chat_id, message_id):
                    return True
        floor = (await self._js.consumer_info(CHAT.name, CHAT_STORE_PROMPTS.name)).ack_floor
        return floor is not None and last.seq is not None and floor.stream_seq >= last.seq


class _Named(msgspec.Struct, frozen=True):
    """The part of ``PromptSubmitted`` that matters here."""

    message_id: str
    user_id: str | None = None


def _is_of(prompt: RawStreamMsg, author_id: str) -> bool:
    with contextlib.suppress(*UNDECODABLE):
        return msgspec.json.decode(prompt.data or b"", type=_Named).user_id == author_id
    return False
