"""What happens to an answer whose client cannot or does not read it to its end, and to one that is not to be stored."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

from gateway.answers.events import AnswerEvent
from gateway.answers.reader import AnswerRef
from gateway.answers.turns import NewTurn
from gateway.auth.identities import Identity
from gateway.context import Gateway
from gateway.errors import GatewayError, OutcomeUnknown
from gateway.http.requests import cancel_on_disconnect
from parley.contracts.resources import Message

STREAMED: Final[dict[int | str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}
"""The additional response of a route whose answer may be a stream, for the OpenAPI document."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The delivery of one answer to the client that makes ``request``.

    Attributes:
        stops: The answer stops when the client disconnects before its end.
        deletes: The answer is not to be stored: its chat is deleted after that, or once the answer is delivered.
        from_key: The same request again returns the same answer.
    """

    gateway: Gateway
    request: Request
    identity: Identity
    ref: AnswerRef
    stops: bool = False
    deletes: bool = False
    from_key: bool = False

    async def submit(self, turn: NewTurn, *, new_chat: bool) -> None:
        """Submit the turn. Raises as ``Turns.submit``."""
        try:
            await self.gateway.turns.submit(self.identity, turn, new_chat=new_chat)
        except OutcomeUnknown:
            await self.give_up()
            raise

    def events(self, after: int = -1) -> AbstractAsyncContextManager[AsyncIterator[AnswerEvent]]:
        """Return the answer's events, closed at the end of the context. Raises as ``AnswerReader.read``."""
        return contextlib.aclosing(self.gateway.answers.read(self.ref, self.request, self.identity, after=after))

    async def wait(self) -> Message:
        """Return the answer when it has ended. Raises ClientDisconnect, and as ``AnswerReader.read``."""
        ended = self.gateway.answers.wait_until_ended(self.ref, self.request, self.identity)
        return await cancel_on_disconnect(self.request, ended)

    @contextlib.asynccontextmanager
    async def whole(self) -> AsyncIterator[None]:
        """Deliver the answer, also one that failed, which is read to its end within the context."""
        try:
            yield
        except ClientDisconnect:
            await self.abandon()
            raise
        except GatewayError:
            await self.give_up()
            raise
        await self.complete()

    async def give_up(self) -> None:
        """Stop an answer that cannot be read to its end, unless the client can request it again: it gets an error, and
        the SDKs then repeat the request by themselves."""
        if not self.from_key:
            await self.abandon()

    async def abandon(self) -> None:
        """Stop the answer, which nobody reads, unless it is to go on."""
        if self.stops:
            with contextlib.suppress(GatewayError):
                await self.gateway.turns.stop(self.identity, self.ref)
            await self.complete()

    async def complete(self) -> None:
        """Delete the chat of an answer that is not to be stored."""
        if self.deletes:
            with contextlib.suppress(GatewayError):
                await self.gateway.turns.delete(self.identity, self.ref)
