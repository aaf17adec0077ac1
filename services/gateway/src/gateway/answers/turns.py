"""Turns: a prompt and its answer, submitted, read and stopped. All routes that ask for an answer use this."""

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET, UnsetType

from gateway.answers.reader import AnswerRef
from gateway.auth.identities import Identity
from gateway.auth.model_access import check_model
from gateway.bus.publisher import PromptPublisher
from gateway.bus.store_client import StoreClient
from gateway.errors import Conflict, Invalid, NotFound, OutcomeUnknown, TooLarge, Unavailable
from gateway.http.requests import check_content, check_id
from parley.contracts import rpc
from parley.contracts.access.models import ModelCatalog
from parley.contracts.completion import CompletionRequest, WhenBusy
from parley.contracts.decoding import MAX_NESTING, nests_too_deeply
from parley.contracts.events import PromptSubmitted
from parley.contracts.limits import MAX_PAGE, MAX_TURN_BYTES
from parley.contracts.resources import Message

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, kw_only=True)
class NewTurn:
    """A prompt, and how it is to be answered.

    Attributes:
        content: May be empty where ``completion`` has a context that ends with what is to be answered, or images.
        parent_id: Absent: at the chat's tip. Null: a new root. An id: after that message.
        answer_id: Null: chat-store makes one.
    """

    chat_id: str
    message_id: str
    content: str
    answer_id: str | None = None
    completion: CompletionRequest | None = None
    model: str | None = None
    parent_id: str | None | UnsetType = UNSET
    when_busy: WhenBusy = "enqueue"


class Turns:
    """Submits, reads and stops turns. The same ids again are the same turn."""

    def __init__(self, store: StoreClient, publisher: PromptPublisher, models: ModelCatalog) -> None:
        self._store = store
        self._publisher = publisher
        self._models = models

    async def submit(self, identity: Identity, turn: NewTurn, *, new_chat: bool = False) -> None:
        """Return when the prompt is durable and, with ``when_busy="reject"``, was not rejected.

        Args:
            new_chat: Create the chat first, unless it is there.

        Raises:
            Invalid, TooLarge: the content, the model or an id cannot be used.
            NotFound: there is no such chat, or it is not this user's.
            Forbidden: the user may only read the chat, or may not use the model.
            Conflict: the id of the chat or the prompt is taken; ``chat_busy``: the chat has a running answer or
                queued prompts, and the prompt is not stored.
            TooMany: a limit is reached.
            Unavailable: the prompt was not stored.
            OutcomeUnknown: it may have been stored. Sending the same again is safe.
        """
        prompt = self._prompt(identity, turn)
        if not new_chat:
            await self._store.require_access(identity.user_id, turn.chat_id, "write")
        await self._store.admit(prompt)
        if new_chat:
            # Only now: a prompt that is refused leaves no empty chat.
            await self._store.ask(rpc.CreateChat(user_id=identity.user_id, chat_id=turn.chat_id))
        await self._publisher.publish(prompt)
        if turn.when_busy == "reject":
            await self._require_accepted(identity, prompt)

    async def get(self, identity: Identity, ref: AnswerRef) -> rpc.TurnReply:
        """Return the turn of an answer, or of a prompt and its first answer. Raises NotFound, Unavailable."""
        return await self._store.ask(
            rpc.GetTurn(user_id=identity.user_id, chat_id=ref.chat_id, message_id=ref.message_id)
        )

    async def regenerate(
        self, identity: Identity, chat_id: str, message_id: str, *, answer_id: str, model: str | None
    ) -> Message:
        """Ask for another answer, next to an answer that ended or to a prompt, and return it.

        The same ``answer_id`` again changes nothing.

        Raises:
            NotFound: there is no such message, or it is not this user's to see.
            Forbidden: the user may only read the chat, or may not use the model.
            Conflict: an answer is running in the chat, or the prompt is queued.
            TooMany: a limit is reached.
            Unavailable: chat-store does not answer.
        """
        request = rpc.Regenerate(
            user_id=identity.user_id,
            chat_id=chat_id,
            message_id=message_id,
            answer_id=answer_id,
            model=check_model(model, identity, self._models),
        )
        return (await self._store.ask(request)).message

    async def stop(self, identity: Identity, ref: AnswerRef) -> None:
        """Stop the answer, or delete its prompt while that is queued; nothing happens when it has ended.

        Raises NotFound, Forbidden, Unavailable.
        """
        user_id, chat_id = identity.user_id, ref.chat_id
        turn = await self.get(identity, ref)
        if turn.prompt.status == "queued":
            # It may have been started meanwhile.
            with contextlib.suppress(Conflict, NotFound):
                await self._store.ask(rpc.DeleteMessage(user_id=user_id, chat_id=chat_id, message_id=turn.prompt.id))
                return
        message_id = (turn.answer or turn.prompt).id
        await self._store.ask(rpc.Stop(user_id=user_id, chat_id=chat_id, message_id=message_id))

    async def delete(self, identity: Identity, ref: AnswerRef) -> None:
        """Delete the chat of a turn, or of one that was not stored.

        Raises:
            Conflict: the chat has another turn.
            NotFound: there is no such chat, or it is not this user's.
            Forbidden, Unavailable
        """
        user_id, chat_id = identity.user_id, ref.chat_id
        listed = await self._store.ask(rpc.ListMessages(user_id=user_id, chat_id=chat_id, limit=MAX_PAGE))
        own = {ref.message_id, *(message.parent_id for message in listed.items if message.id == ref.message_id)}
        if listed.next is not None or any(
            message.id not in own and message.parent_id != ref.message_id for message in listed.items
        ):
            raise Conflict(
                "The response is part of a conversation with other responses. Delete the conversation.",
                code="response_in_conversation",
            )
        await self._store.ask(rpc.DeleteChat(user_id=user_id, chat_id=chat_id))

    def _prompt(self, identity: Identity, turn: NewTurn) -> PromptSubmitted:
        content = turn.content
        if content or turn.completion is None or not (turn.completion.context or turn.completion.parts):
            check_content(content)
        if turn.parent_id is not UNSET:
            check_id(turn.parent_id, "parent_id")
        completion = turn.completion
        if completion is not None:
            if nests_too_deeply([completion.parameters, completion.echo]):
                raise Invalid(f"The parameters have more than {MAX_NESTING} levels of objects and arrays.")
            if len(_encode(content)) + len(_encode(completion)) > MAX_TURN_BYTES:
                raise TooLarge(f"The conversation, with its images, is longer than {MAX_TURN_BYTES} bytes as JSON.")
        return PromptSubmitted(
            chat_id=turn.chat_id,
            occurred_at=datetime.now(UTC),
            message_id=turn.message_id,
            user_id=identity.user_id,
            content=content,
            parent_id=turn.parent_id,
            model=check_model(turn.model, identity, self._models),
            answer_id=turn.answer_id,
            completion=completion,
            when_busy=turn.when_busy,
        )

    async def _require_accepted(self, identity: Identity, prompt: PromptSubmitted) -> None:
        """Ask chat-store, which decides in the order of the stream; its reply covers what was accepted before."""
        try:
            turn = await self.get(identity, AnswerRef(chat_id=prompt.chat_id, message_id=prompt.message_id))
        except Unavailable as error:
            raise OutcomeUnknown(error.detail) from error
        stored = turn.prompt
        if stored.error is not None and stored.error.code == "chat_busy":
            raise Conflict(stored.error.message, code="chat_busy")
