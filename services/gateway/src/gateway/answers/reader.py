"""Reads an answer as numbered events: live from push while it runs, from chat-store when it has ended."""

import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from starlette.requests import Request

from gateway.answers.events import LAST, AnswerEvent, Ended
from gateway.answers.numbering import AnswerNumbers, Gap
from gateway.auth.identities import Identity
from gateway.bus.store_client import StoreClient
from gateway.errors import GatewayError, NotAuthenticated, NotFound, Unavailable
from gateway.http.event_stream import GOODBYE, EventStreams, StreamRequest
from parley.contracts import frames, rpc
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.resources import Message

log = logging.getLogger(__name__)

_MAX_FRUITLESS: Final = 3
"""How many streams in a row may end without an event."""

_decoder = msgspec.json.Decoder(frames.ServerFrame)


@dataclass(frozen=True, kw_only=True)
class AnswerRef:
    """An answer by its own id, or by its prompt's: that prompt's first answer."""

    chat_id: str
    message_id: str


class AnswerReader:
    """Reads answers. Nothing is queued here: push pauses a slow reader."""

    def __init__(self, store: StoreClient, streams: EventStreams) -> None:
        self._store = store
        self._streams = streams

    async def read(
        self, ref: AnswerRef, request: Request, identity: Identity, *, after: int = -1
    ) -> AsyncGenerator[AnswerEvent, None]:
        """Yield the events of an answer after the number ``after``, until it has ended; close the iterator after use.

        A queued prompt is waited for. When a push process stops, reading continues at another one.

        Raises:
            NotFound: the turn does not exist, was deleted, or may not be read by the user.
            NotAuthenticated: the reader's session has ended.
            TooMany: the user has too many connections.
            Unavailable: chat-store or push does not answer, or this process is stopping.
        """
        stream_request = replace(StreamRequest.of(request, identity.principal, ref.chat_id), for_answer=True)
        turn = await self._turn(ref, identity)
        numbers = AnswerNumbers((turn.answer or turn.prompt).id, after)
        fruitless = 0
        while True:
            for event in numbers.stored(turn.answer or turn.prompt):
                yield event
            if numbers.has_ended():
                return
            if fruitless == _MAX_FRUITLESS:
                raise Unavailable("The answer cannot be followed at the moment. Try again soon.")
            fruitless += 1
            # Without a generation: push sends the running answer from its beginning, and no older messages.
            cursor = msgspec.json.encode(frames.Cursor(version=turn.chat_version)).decode()
            stream = await self._streams.open(stream_request, cursor)
            try:
                async with contextlib.aclosing(_frames(stream.events())) as received:
                    async for frame in received:
                        for event in numbers.apply(frame):
                            fruitless = 0
                            yield event
                        if numbers.has_ended():
                            return
                        if isinstance(frame, frames.Snapshot) and not frame.recovered:
                            break
            except Gap:
                log.warning("Chunks of an answer are missing", extra={"chat_id": ref.chat_id})
            finally:
                await stream.close()
            turn = await self._turn(ref, identity)

    async def wait_until_ended(self, ref: AnswerRef, request: Request, identity: Identity) -> Message:
        """Return the answer, or the prompt that gets none, when it has ended and is stored. Raises as :meth:`read`."""
        async with contextlib.aclosing(self.read(ref, request, identity, after=LAST)) as events:
            async for event in events:
                if isinstance(event, Ended):
                    return event.message
        raise AssertionError("an answer ends")

    async def _turn(self, ref: AnswerRef, identity: Identity) -> rpc.TurnReply:
        request = rpc.GetTurn(user_id=identity.user_id, chat_id=ref.chat_id, message_id=ref.message_id)
        return await self._store.ask(request)


async def _frames(events: AsyncIterator[bytes]) -> AsyncGenerator[frames.ServerFrame, None]:
    """Yield the frames within server-sent events, until the stream is complete.

    Raises:
        GatewayError: the reader may not or cannot continue.
    """
    async for chunk in events:
        if chunk == GOODBYE:
            raise Unavailable("This server is going away. Connect again.", retry_after=1)
        for line in chunk.split(b"\n"):
            if not line.startswith(b"data: "):
                continue
            try:
                frame = _decoder.decode(line[6:])
            except UNDECODABLE:
                continue  # of a newer version
            match frame:
                case frames.Error() if (error := _error(frame)) is not None:
                    raise error
                case frames.ChatFrame(chat=None):
                    raise NotFound("The chat was deleted, or you are not a member of it any more.")
                case _:
                    yield frame


def _error(frame: frames.Error) -> GatewayError | None:
    match frame.code:
        case "not_found":
            return NotFound(frame.message)
        case "session_ended":
            return NotAuthenticated(frame.message, code=frame.code)
        case _:
            return None
