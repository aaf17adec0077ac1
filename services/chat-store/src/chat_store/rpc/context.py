"""What the request handlers need, injected by FastStream."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, TypeVar

from faststream import Context

from chat_store.domain.conversation import NO_CHAT, Conversation
from chat_store.errors import NoSuchMessage, NotFound
from chat_store.events.publisher import Publisher
from chat_store.events.quotas import Quotas
from chat_store.rpc.read_your_writes import Accepted
from chat_store.storage import transactions
from chat_store.storage.administration import audit
from chat_store.storage.pool import Database
from chat_store.storage.rows import Connection
from chat_store.storage.searches import Searches
from chat_store.storage.transactions import Command
from parley.contracts import ids, limits
from parley.contracts.access.audit import AuditEvent

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class RequestContext:
    """The parts of the service that handlers use."""

    database: Database
    publisher: Publisher
    accepted: Accepted
    searches: Searches
    quotas: Quotas

    async def change(
        self,
        chat_id: str,
        run: Callable[[Conversation], R],
        *,
        messages: Sequence[str] = (),
        users: Sequence[str] = (),
        ends: bool = False,
        again: Callable[[R], bool] = lambda _: False,
        within: Callable[[Connection], AbstractAsyncContextManager[None]] = lambda _: nullcontext(),
        audited: Callable[[R], AuditEvent] | None = None,
    ) -> R:
        """Change a chat and announce the change.

        A command that names an unknown message is run again after the prompts that were accepted before it are stored.

        Args:
            run, messages, users, ends: See :class:`chat_store.storage.transactions.Command`.
            again: Whether a prompt that is accepted and not stored yet may change the result.
            within: A context in which the change is made, such as a limit's.
            audited: Returns the audit event of a change, committed with it; for commands that change no message.

        Raises:
            NotFound: there is no such chat, or no such message in it.
        """
        command = Command(
            chat_id=chat_id,
            run=run,
            messages=messages,
            users=users,
            ends=ends,
            defers=self.publisher.starter.defers,
        )

        result = await self.accepted.carry_out(
            chat_id,
            lambda: self._attempt(command, within, audited),
            again=lambda result: isinstance(result, NoSuchMessage) or again(result),
        )
        if isinstance(result, NoSuchMessage):
            raise result
        return result

    async def _attempt(
        self,
        command: Command[R],
        within: Callable[[Connection], AbstractAsyncContextManager[None]],
        audited: Callable[[R], AuditEvent] | None,
    ) -> R | NoSuchMessage:
        async with self.database.connection() as connection, within(connection):
            try:
                async with nullcontext() if audited is None else connection.transaction():
                    outcome = await transactions.execute(connection, [command])
                    result = outcome.results[0]
                    if audited is not None and outcome.changes and result is not None:
                        await audit.record(connection, audited(result))
            except NoSuchMessage as missing:
                return missing
        if result is None:
            raise NotFound(NO_CHAT)
        await self.publisher.announce(outcome.changes)
        return result


Store = Annotated[RequestContext, Context("store")]
"""The parameter of a handler that gets the context."""


def check_ids(*given: str) -> None:
    """Raises: NotFound: one of these is not an id, so it cannot exist."""
    if not all(ids.is_id(one) for one in given):
        raise NotFound("There is no such chat or message.")


def page_size(limit: int) -> int:
    """Return how many items a page gets when ``limit`` were requested."""
    return max(1, min(limit, limits.MAX_PAGE))
