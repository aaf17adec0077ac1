"""Stopping an answer, and asking for another one in its place: some clients stop reading and do not stop the answer."""

import asyncio
import contextlib
from typing import Final

from starlette.requests import Request

from gateway.answers.reader import AnswerRef
from gateway.auth.identities import Identity
from gateway.auth.model_access import check_model
from gateway.context import Gateway
from gateway.protocols.branch import Branch
from parley.contracts.completion import WhenBusy
from parley.contracts.resources import Message

_STOP_SECONDS: Final = 10.0
"""How long a stopped answer may take to end."""


async def stop_and_wait(gateway: Gateway, request: Request, identity: Identity, ref: AnswerRef) -> None:
    """Stop an answer and return when it has ended, or after ten seconds.

    Raises:
        NotFound, Forbidden: there is no such turn, or the user may not stop it.
        Unavailable: chat-store or push does not answer.
    """
    await gateway.turns.stop(identity, ref)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STOP_SECONDS):
            await gateway.answers.wait_until_ended(ref, request, identity)


async def regenerate(
    gateway: Gateway,
    request: Request,
    identity: Identity,
    branch: Branch,
    message: Message,
    *,
    answer_id: str,
    model: str | None,
    when_busy: WhenBusy,
) -> None:
    """Ask for another answer to a prompt, or a sibling of an answer; one that runs there is stopped first.

    Args:
        when_busy: ``interrupt`` and ``rollback`` stop an answer to another message, too; ``reject`` stops none.

    Raises:
        Invalid, Forbidden: the user may not use the model, or may only read the chat.
        Conflict: an answer is running that is not to be stopped or does not end in time, or the message is queued.
        TooMany: a limit is reached.
        Unavailable: chat-store or push does not answer.
    """
    check_model(model, identity, gateway.models)  # before an answer is stopped for nothing
    running = branch.answer_to_stop(message, when_busy)
    # The same request again, by its Idempotency-Key, has the answer that runs.
    if running is not None and running.id != answer_id:
        ref = AnswerRef(chat_id=running.chat_id, message_id=running.id)
        await stop_and_wait(gateway, request, identity, ref)
    await gateway.turns.regenerate(identity, message.chat_id, message.id, answer_id=answer_id, model=model)
