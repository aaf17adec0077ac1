"""The limits of users and chats, applied to requests and events (``docs/decisions/0055``)."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

from chat_store import metrics
from chat_store.domain import limits as rules
from chat_store.domain.limits import Account, Limits
from chat_store.errors import LimitReached, ModelNotAllowed
from chat_store.storage import limits as counts
from chat_store.storage import members, messages
from chat_store.storage.pool import Database
from chat_store.storage.rows import Connection
from parley.contracts import rpc
from parley.contracts.access.policy import may_in_chat
from parley.contracts.completion import prompt_bytes
from parley.contracts.events import PromptSubmitted
from parley.contracts.limits import TOO_MANY_PROMPTS
from parley.contracts.resources import MessageError


class Quotas:
    """Decides whether a user may send a prompt, regenerate an answer, create a chat, or have the provider called."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self.limits = limits

    async def admit_prompt(self, request: rpc.AdmitPrompt) -> None:
        """Reserve a place for a prompt. Once for a chat and message.

        Raises:
            LimitReached: there is none.
            ModelNotAllowed: the user may not use the model.
        """
        limits, chat_id, message_id = self.limits, request.chat_id, request.message_id
        async with self._database.connection() as connection:
            if await counts.are_admitted(connection, [(chat_id, message_id)]):
                return
            with _counted():
                if limits.limits_calls:
                    model = request.model or await counts.model_of_chat(connection, chat_id)
                    await self._check_call(connection, request.user_id, model)
                if limits.limits_queues:
                    queue = await counts.get_queue(connection, chat_id, excluding=message_id)
                    rules.check_queue(limits, queue, new=request.bytes)
                await self._count(connection, chat_id, message_id, request.user_id, request.bytes)

    async def refusals(self, prompts: Sequence[PromptSubmitted]) -> set[str]:
        """Count the prompts that were accepted while nobody could be asked; return the ids of the refused events.

        Each is counted at the time when it was sent.
        """
        limit = self.limits.prompts_per_minute
        if not limit or not prompts:
            return set()
        refused = set()
        async with self._database.connection() as connection:
            known = await counts.are_admitted(connection, [(one.chat_id, one.message_id) for one in prompts])
            for one in prompts:
                if (one.chat_id, one.message_id) not in known and not await counts.admit(
                    connection,
                    one.chat_id,
                    one.message_id,
                    user_id=one.user_id,
                    size=prompt_bytes(one.content, one.completion),
                    at=one.occurred_at,
                    limit=limit,
                ):
                    refused.add(one.id)
                    metrics.REFUSED.labels(TOO_MANY_PROMPTS).inc()
        return refused

    @asynccontextmanager
    async def regenerating(self, connection: Connection, request: rpc.Regenerate) -> AsyncIterator[None]:
        """Reserve a place for another answer while it is created.

        Raises:
            LimitReached: there is none.
            ModelNotAllowed: the user may not use the model.
        """
        limits, user_id = self.limits, request.user_id
        if await messages.exists(connection, request.chat_id, request.answer_id):
            yield
            return
        with _counted():
            if limits.limits_calls:
                model = request.model or await counts.model_of_chat(connection, request.chat_id)
                await self._check_call(connection, user_id, model)
            if limits.prompts_per_minute:
                await self._count(connection, request.chat_id, request.answer_id, user_id, 0)
        if not limits.answers_per_user:
            yield
            return
        async with counts.locked(connection, user_id):
            # A repeat of this request may have created the answer while this one waited for the lock.
            if not await messages.exists(connection, request.chat_id, request.answer_id):
                with _counted():
                    if await counts.count_running(connection, user_id) >= limits.answers_per_user:
                        raise rules.too_many_answers(limits.answers_per_user)
            yield

    @asynccontextmanager
    async def creating_chat(self, connection: Connection, chat_id: str, user_id: str) -> AsyncIterator[None]:
        """Keep the number of a user's chats within the limit while one is created. Raises: LimitReached."""
        async with self._one_more_chat(connection, chat_id, user_id, rules.too_many_chats):
            yield

    @asynccontextmanager
    async def handing_over(self, connection: Connection, request: rpc.HandOver) -> AsyncIterator[None]:
        """Keep the number of a member's chats within the limit while the member is made the owner of one.

        Raises:
            LimitReached: the member has as many chats as allowed; only an owner learns that, and of a member only.
        """
        roles = await members.roles(connection, request.chat_id) if self.limits.chats_per_user else {}
        if not may_in_chat(roles.get(request.user_id), "hand_over") or request.member_id not in roles:
            yield  # there is no limit, or the rules refuse it
            return
        async with self._one_more_chat(connection, request.chat_id, request.member_id, rules.too_many_chats_of_member):
            yield

    @asynccontextmanager
    async def _one_more_chat(
        self, connection: Connection, chat_id: str, user_id: str, refusal: Callable[[int], LimitReached]
    ) -> AsyncIterator[None]:
        limit = self.limits.chats_per_user
        if not limit:
            yield
            return
        async with counts.locked(connection, user_id):
            with _counted():
                if not await counts.has_room_for_chat(connection, chat_id, user_id=user_id, limit=limit):
                    raise refusal(limit)
            yield

    async def check_call(
        self, connection: Connection, user_id: str, model: str | None
    ) -> tuple[str | None, MessageError | None]:
        """Return the model of an answer that is about to be generated, and why the provider may not be called."""
        if not self.limits.limits_calls:
            return model, None
        try:
            with _counted():
                return await self._check_call(connection, user_id, model), None
        except (LimitReached, ModelNotAllowed) as refusal:
            return model, rules.error_of_call(refusal)

    async def _check_call(self, connection: Connection, user_id: str, model: str | None) -> str | None:
        now = datetime.now(UTC)
        account: Account = await counts.get_account(connection, user_id, since=rules.day_of(now))
        model = rules.model_of(self.limits, account, model)
        rules.check_budget(self.limits, account, model, now=now)
        return model

    async def _count(self, connection: Connection, chat_id: str, message_id: str, user_id: str, size: int) -> None:
        limit = self.limits.prompts_per_minute
        if not await counts.admit(connection, chat_id, message_id, user_id=user_id, size=size, at=None, limit=limit):
            wait = await counts.seconds_until_place(connection, user_id, limit=limit)
            raise rules.too_many_prompts(limit, retry_after=wait)


@contextmanager
def _counted() -> Iterator[None]:
    try:
        yield
    except (LimitReached, ModelNotAllowed) as refusal:
        metrics.REFUSED.labels(refusal.reason).inc()
        raise
