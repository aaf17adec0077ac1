"""What happens to an answer whose client cannot or does not read it to its end, and to one that is not to be stored."""

import contextlib

from gateway.answers.reader import AnswerRef
from gateway.answers.turns import NewTurn
from gateway.auth.authentication import Identity
from gateway.context import Gateway
from gateway.errors import GatewayError, OutcomeUnknown


class Delivery:
    """The delivery of one answer to the client that asked for it.

    Args:
        stops: The answer stops when the client disconnects before its end.
        deletes: The answer is not to be stored: its chat is deleted after that, or once the answer is delivered.
        from_key: The same request again returns the same answer.
    """

    def __init__(
        self, gateway: Gateway, identity: Identity, ref: AnswerRef, *, stops: bool, deletes: bool, from_key: bool
    ) -> None:
        self.ref = ref
        self.deletes = deletes
        self._gateway = gateway
        self._identity = identity
        self._stops = stops
        self._from_key = from_key

    async def submit(self, turn: NewTurn, *, new_chat: bool) -> None:
        """Submit the turn. Raises as ``Turns.submit``."""
        try:
            await self._gateway.turns.submit(self._identity, turn, new_chat=new_chat)
        except OutcomeUnknown:
            await self.give_up()
            raise

    async def give_up(self) -> None:
        """Stop an answer that cannot be read to its end, unless the client, who is about to know, can ask for it again:
        the SDKs send the request again by themselves."""
        if not self._from_key:
            await self.abandon()

    async def abandon(self) -> None:
        """Stop the answer, which nobody reads, unless it is to go on."""
        if self._stops:
            with contextlib.suppress(GatewayError):
                await self._gateway.turns.stop(self._identity, self.ref)
            await self.complete()

    async def complete(self) -> None:
        """Delete the chat of an answer that is not to be stored."""
        if self.deletes:
            with contextlib.suppress(GatewayError):
                await self._gateway.turns.delete(self._identity, self.ref)
