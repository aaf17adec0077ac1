"""The end of an answer that a client asked to stop."""

import asyncio
import contextlib
from typing import Final

from gateway.answers.reader import AnswerRef
from gateway.auth.authentication import Identity
from gateway.context import Gateway
from gateway.http.event_stream import StreamRequest

_STOP_SECONDS: Final = 10.0
"""How long a stopped answer may take to end."""


async def stop_and_wait(gateway: Gateway, identity: Identity, ref: AnswerRef, reader: StreamRequest) -> None:
    """Stop an answer and return when it has ended, or after ten seconds.

    Raises:
        NotFound, Forbidden: there is no such turn, or the user may not stop it.
        Unavailable: chat-store or push does not answer.
    """
    await gateway.turns.stop(identity, ref)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STOP_SECONDS):
            await gateway.answers.wait_until_ended(ref, reader)
