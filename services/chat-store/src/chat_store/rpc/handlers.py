"""The answers to ``rpc.store.<verb>``: one method per verb, registered by :func:`register`.

At most once per request, and idempotent, so a caller who got no answer asks again. A refusal is an ``RpcError``; a chat
of somebody else is answered like one that does not exist.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
from faststream.nats import NatsBroker, NatsMessage, NatsResponse

from chat_store import metrics
from chat_store.domain import context, cursors, search
from chat_store.domain.conversation import Claimed, Conversation
from chat_store.domain.cursors import BeforeChat, BeforeHit, BeforeMessage
from chat_store.errors import (
    Conflict,
    Invalid,
    NoSuchMessage,
    NotFound,
    StoreError,
    Unavailable,
    describe,
    is_outage,
)
from chat_store.events.publisher import Publisher
from chat_store.rpc import pages
from chat_store.rpc.read_your_writes import Accepted
from chat_store.storage import repository, transactions
from chat_store.storage.pool import Database
from chat_store.storage.searches import Searches
from chat_store.storage.transactions import Command
from parley.contracts import ids, limits, rpc, subjects
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.resources import Member, Message
from parley.runtime import tracing
from parley.runtime.nats.requests import has_expired

log = logging.getLogger(__name__)

R = TypeVar("R")

QUEUE: Final = "chat-store"
"""The queue group: each request is answered by one replica."""

WORKERS: Final = 64
"""Requests of one verb in hand at once; the pool bounds them further."""

_NO_CHAT: Final = "There is no such chat."


class Queries:
    """Answers requests from Postgres.

    What names a message that is not there waits for what was accepted (:mod:`chat_store.rpc.read_your_writes`).
    """

    def __init__(self, database: Database, publisher: Publisher, accepted: Accepted, searches: Searches) -> None:
        self._accepted = accepted
        self._database = database
        self._publisher = publisher
        self._searches = searches

    # --- the gateway: chats -----------------------------------------------------------------------------------------

    async def check_access(self, request: rpc.CheckAccess) -> rpc.AccessReply:
        _check_ids(request.chat_id)
        async with self._database.connection() as connection:
            role = await repository.role_of(connection, request.chat_id, request.user_id)
        if role is None:
            raise NotFound(_NO_CHAT)
        return rpc.AccessReply(role=role)

    async def create_chat(self, request: rpc.CreateChat) -> rpc.ChatReply:
        if not ids.is_id(request.chat_id):
            raise Invalid("A chat's id is a UUID in lower case.")
        async with self._database.connection() as connection:
            created = await repository.create_chat(
                connection,
                request.chat_id,
                owner_id=request.user_id,
                title=_clean(request.title),
                model=_clean(request.model),
                system_prompt=_clean(request.system_prompt),
                now=datetime.now(UTC),
            )
            chat = await repository.get_chat(connection, request.chat_id)
        if chat is None or chat.owner_id != request.user_id:
            raise Conflict("This chat id has been used.")
        if created:
            await self._publisher.announce_new(chat)
        return rpc.ChatReply(chat=chat)

    async def get_chat(self, request: rpc.GetChat) -> rpc.ChatReply:
        _check_ids(request.chat_id)
        async with self._database.connection() as connection:
            chat = await repository.get_chat(connection, request.chat_id, user_id=request.user_id)
        if chat is None:
            raise NotFound(_NO_CHAT)
        return rpc.ChatReply(chat=chat)

    async def list_chats(self, request: rpc.ListChats) -> rpc.ChatList:
        before = None if request.before is None else cursors.decode(request.before, BeforeChat)
        limit = _limit(request.limit)
        async with self._database.connection() as connection:
            found = await repository.list_chats(connection, request.user_id, before=before, limit=limit + 1)
        items = found[:limit]
        while len(items) > 1 and len(msgspec.json.encode(items)) > limits.MAX_REPLY_BYTES:
            items = items[: len(items) // 2]
        following = None
        if len(items) < len(found):
            last = items[-1]
            following = cursors.encode(BeforeChat(updated_at=last.updated_at.isoformat(), id=last.id))
        return rpc.ChatList(items=items, next=following)

    async def update_chat(self, request: rpc.UpdateChat) -> rpc.ChatReply:
        def run(conversation: Conversation) -> rpc.ChatReply:
            conversation.require_member(request.user_id)
            conversation.update(request)
            return rpc.ChatReply(chat=conversation.chat.resource(running=conversation.running))

        tip = [request.tip_id] if isinstance(request.tip_id, str) else []
        _check_ids(request.chat_id, *tip)
        try:
            return await self._execute(request, run, messages=tip)
        except NoSuchMessage as missing:
            raise Invalid("The tip must be a message of this chat.") from missing

    async def delete_chat(self, request: rpc.DeleteChat) -> rpc.Done:
        def run(conversation: Conversation) -> rpc.Done:
            conversation.require_owner(request.user_id)
            conversation.delete()
            return rpc.Done()

        _check_ids(request.chat_id)
        try:
            return await self._execute(request, run)
        except NotFound:
            async with self._database.connection() as connection:
                if await repository.owner_of_deleted(connection, request.chat_id) == request.user_id:
                    return rpc.Done()
            raise

    # --- the gateway: messages --------------------------------------------------------------------------------------

    async def list_messages(self, request: rpc.ListMessages) -> rpc.MessageList:
        _check_ids(request.chat_id)
        before = None if request.before is None else cursors.decode(request.before, BeforeMessage).position
        async with self._database.connection() as connection:
            if await repository.role_of(connection, request.chat_id, request.user_id) is None:
                raise NotFound(_NO_CHAT)
            items, following = await pages.newest(
                connection, request.chat_id, before=before, limit=_limit(request.limit)
            )
        return rpc.MessageList(items=items, next=following)

    async def get_message(self, request: rpc.GetMessage) -> rpc.MessageReply:
        async def look() -> Message | None:
            async with self._database.connection() as connection:
                return await repository.get_message(
                    connection, request.chat_id, request.message_id, user_id=request.user_id
                )

        _check_ids(request.chat_id, request.message_id)
        found = await self._accepted.carry_out(request.chat_id, look, again=lambda message: message is None)
        if found is None:
            raise NoSuchMessage
        return rpc.MessageReply(message=found)

    async def regenerate(self, request: rpc.Regenerate) -> rpc.MessageReply:
        def run(conversation: Conversation) -> rpc.MessageReply:
            conversation.require_member(request.user_id)
            answer = conversation.regenerate(
                request.user_id,
                request.message_id,
                answer_id=request.answer_id,
                model=_clean(request.model),
                traceparent=tracing.inject().get(tracing.TRACEPARENT),
            )
            return rpc.MessageReply(message=answer.resource())

        _check_ids(request.chat_id, request.message_id)
        if not ids.is_id(request.answer_id):
            raise Invalid("An answer's id is a UUID in lower case.")
        return await self._execute(request, run, messages=[request.message_id, request.answer_id])

    async def delete_message(self, request: rpc.DeleteMessage) -> rpc.Done:
        def run(conversation: Conversation) -> rpc.Done:
            conversation.require_member(request.user_id)
            conversation.delete_queued(request.message_id)
            return rpc.Done()

        _check_ids(request.chat_id, request.message_id)
        return await self._execute(request, run, messages=[request.message_id])

    async def stop(self, request: rpc.Stop) -> rpc.Done:
        def run(conversation: Conversation) -> bool:
            conversation.require_member(request.user_id)
            was_running = conversation.running
            conversation.stop(request.message_id)
            return was_running

        named = [] if request.message_id is None else [request.message_id]
        _check_ids(request.chat_id, *named)
        # With none running, one that was just accepted may be meant; a name says itself whether it is there.
        await self._execute(
            request, run, messages=named, ends=True, again=lambda was_running: not named and not was_running
        )
        return rpc.Done()

    async def search(self, request: rpc.Search) -> rpc.SearchReply:
        """The messages that hold every word, first those that hold all of it as it stands."""
        before = None if request.before is None else cursors.decode(request.before, BeforeHit)
        limit = _limit(request.limit)
        asked = search.read(_clean(request.query) or "")
        if asked is None:
            return rpc.SearchReply(items=[], next=None)
        found = await self._searches.run(
            request.user_id, asked, search_id=request.search_id, before=before, limit=limit + 1
        )
        following = None
        if len(found) > limit:
            last = found[limit - 1]
            following = cursors.encode(
                BeforeHit(
                    rank=last.rank,
                    created_at=last.created_at,
                    chat_id=last.chat_id,
                    message_id=last.message_id,
                )
            )
        items = [
            rpc.SearchHit(
                chat_id=row.chat_id,
                chat_title=row.chat_title,
                message_id=row.message_id,
                role=row.role,
                excerpt=search.excerpt(row.around, asked),
            )
            for row in found[:limit]
        ]
        return rpc.SearchReply(items=items, next=following)

    async def usage(self, request: rpc.GetUsage) -> rpc.UsageReply:
        async with self._database.connection() as connection:
            return rpc.UsageReply(items=await repository.get_usage(connection, request.user_id))

    # --- the gateway: members ---------------------------------------------------------------------------------------

    async def list_members(self, request: rpc.ListMembers) -> rpc.MemberList:
        _check_ids(request.chat_id)
        async with self._database.connection() as connection:
            members = await repository.list_members(connection, request.chat_id)
        if all(member.user_id != request.user_id for member in members):
            raise NotFound(_NO_CHAT)
        return rpc.MemberList(
            items=[Member(user_id=member.user_id, role=member.role, added_at=member.added_at) for member in members]
        )

    async def put_member(self, request: rpc.PutMember) -> rpc.MemberReply:
        def run(conversation: Conversation) -> rpc.MemberReply:
            conversation.require_owner(request.user_id)
            member = conversation.put_member(request.member_id)
            return rpc.MemberReply(member=Member(user_id=member.user_id, role=member.role, added_at=member.added_at))

        _check_ids(request.chat_id)
        if not request.member_id or "\x00" in request.member_id:
            raise Invalid("A member needs an id.")
        return await self._execute(request, run, users=[request.member_id])

    async def delete_member(self, request: rpc.DeleteMember) -> rpc.Done:
        def run(conversation: Conversation) -> rpc.Done:
            conversation.require_member(request.user_id)
            conversation.remove_member(request.user_id, request.member_id)
            return rpc.Done()

        _check_ids(request.chat_id)
        return await self._execute(request, run, users=[request.member_id])

    # --- push -------------------------------------------------------------------------------------------------------

    async def sync(self, request: rpc.Sync) -> rpc.SyncReply:
        _check_ids(request.chat_id)
        # One snapshot: version, members, messages and generation belong together.
        async with (
            self._database.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            chat = await repository.get_chat(connection, request.chat_id)
            if chat is None:
                raise NotFound(_NO_CHAT)
            members = await repository.member_ids(connection, request.chat_id)
            generation = await repository.get_active(connection, request.chat_id)
            beside = len(msgspec.json.encode((chat, members)))
            messages: list[Message] | None = None
            following: str | None = None
            if request.after is not None and request.after <= chat.version:
                messages = await repository.messages_changed_since(
                    connection,
                    request.chat_id,
                    request.after,
                    limit=limits.MAX_PAGE,
                    max_bytes=limits.MAX_REPLY_BYTES,
                )
                if messages is not None and not pages.fits(messages, beside=beside):
                    messages = None
            recovered = messages is not None
            if messages is None:
                messages, following = await pages.newest(
                    connection, request.chat_id, before=None, limit=limits.MAX_PAGE // 2, beside=beside
                )
        return rpc.SyncReply(
            version=chat.version,
            recovered=recovered,
            chat=chat,
            members=members,
            messages=messages,
            generation=generation,
            next=following,
        )

    async def versions(self, request: rpc.Versions) -> rpc.VersionsReply:
        known = {chat_id: version for chat_id, version in request.chats.items() if ids.is_id(chat_id)}
        async with self._database.connection() as connection:
            moved = await repository.moved(connection, known)
        return rpc.VersionsReply(moved=moved | dict.fromkeys(request.chats.keys() - known.keys(), -1))

    # --- llm-worker -------------------------------------------------------------------------------------------------

    async def claim(self, request: rpc.Claim) -> rpc.Claimed | rpc.ClaimRefused:
        def run(conversation: Conversation) -> tuple[Claimed, str | None] | None:
            claimed = conversation.claim(request.generation_id, claim_id=request.claim_id, worker_id=request.worker_id)
            return None if claimed is None else (claimed, conversation.chat.system_prompt)

        if not ids.is_id(request.chat_id) or not ids.is_id(request.generation_id):
            return rpc.ClaimRefused()
        async with self._database.connection() as connection:
            outcome = await transactions.execute(connection, [Command(chat_id=request.chat_id, run=run)])
            result = outcome.results[0]
            if result is None:
                return rpc.ClaimRefused()
            claimed, system_prompt = result
            told = []
            if claimed.verdict == "stream" and claimed.answer.parent_id is not None:
                told = await repository.branch(
                    connection,
                    request.chat_id,
                    claimed.answer.parent_id,
                    max_bytes=context.MAX_CONTEXT_BYTES,
                )
        await self._publisher.announce(outcome.changes)
        return rpc.Claimed(
            chat_id=request.chat_id,
            generation_id=claimed.generation.id,
            message_id=claimed.answer.id,
            attempt=claimed.generation.attempt,
            verdict=claimed.verdict,
            model=claimed.answer.model,
            context=context.fit(system_prompt, told),
        )

    async def release(self, request: rpc.Release) -> rpc.Done:
        if not ids.is_id(request.generation_id):
            return rpc.Done()
        async with self._database.connection() as connection:
            chat_id = await repository.chat_of_generation(connection, request.generation_id)
            if chat_id is None:
                return rpc.Done()
            outcome = await transactions.execute(
                connection,
                [
                    Command(
                        chat_id=chat_id,
                        run=lambda conversation: conversation.release(request.generation_id, request.attempt),
                    )
                ],
            )
        await self._publisher.announce(outcome.changes)
        return rpc.Done()

    # --- one way to change a chat -----------------------------------------------------------------------------------

    async def _execute(
        self,
        request: Any,
        run: Callable[[Conversation], R],
        *,
        messages: Sequence[str] = (),
        users: Sequence[str] = (),
        ends: bool = False,
        again: Callable[[R], bool] = lambda _: False,
    ) -> R:
        """Change a chat, and announce the change.

        Args:
            run, messages, users, ends: See :class:`chat_store.storage.transactions.Command`.
            again: Whether a result may be due to a prompt that is accepted and not stored yet.
        """
        command = Command(
            chat_id=request.chat_id, run=run, messages=messages, users=[request.user_id, *users], ends=ends
        )

        async def attempt() -> R | NoSuchMessage:
            async with self._database.connection() as connection:
                try:
                    outcome = await transactions.execute(connection, [command])
                except NoSuchMessage as missing:
                    return missing
            result = outcome.results[0]
            if result is None:
                raise NotFound(_NO_CHAT)
            await self._publisher.announce(outcome.changes)
            return result

        result = await self._accepted.carry_out(
            request.chat_id, attempt, again=lambda result: isinstance(result, NoSuchMessage) or again(result)
        )
        if isinstance(result, NoSuchMessage):
            raise result
        return result


# --- from the bus and back --------------------------------------------------------------------------------------------

Answer = Callable[[Any], Awaitable[msgspec.Struct]]


def verbs(queries: Queries) -> dict[type[Any], Answer]:
    """Which method answers which request."""
    return {
        rpc.CheckAccess: queries.check_access,
        rpc.CreateChat: queries.create_chat,
        rpc.GetChat: queries.get_chat,
        rpc.ListChats: queries.list_chats,
        rpc.UpdateChat: queries.update_chat,
        rpc.DeleteChat: queries.delete_chat,
        rpc.ListMessages: queries.list_messages,
        rpc.GetMessage: queries.get_message,
        rpc.Regenerate: queries.regenerate,
        rpc.DeleteMessage: queries.delete_message,
        rpc.Stop: queries.stop,
        rpc.Search: queries.search,
        rpc.GetUsage: queries.usage,
        rpc.ListMembers: queries.list_members,
        rpc.PutMember: queries.put_member,
        rpc.DeleteMember: queries.delete_member,
        rpc.Sync: queries.sync,
        rpc.Versions: queries.versions,
        rpc.Claim: queries.claim,
        rpc.Release: queries.release,
    }


def register(broker: NatsBroker, queries: Queries) -> None:
    """Subscribe to every verb, in the queue group of chat-store."""
    for kind, answer in verbs(queries).items():
        handler = _handler(kind, answer)
        broker.subscriber(
            subjects.rpc_store(kind.VERB),
            queue=QUEUE,
            max_workers=WORKERS,
            decoder=_unpack,
            title=kind.VERB,
            description=(kind.__doc__ or "").strip(),
        )(handler)


_EXPIRED: Final = rpc.RpcError(code="unavailable", message="The request was answered too late.", retry_after=1.0)


class _Request(msgspec.Struct, frozen=True):
    body: bytes
    headers: dict[str, str]
    has_expired: bool


async def _unpack(message: NatsMessage) -> _Request:
    return _Request(bytes(message.body), message.headers, has_expired(message.raw_message))


def _handler(kind: type[Any], answer: Answer) -> Callable[[_Request], Awaitable[NatsResponse]]:
    decoder = msgspec.json.Decoder(kind)
    verb: str = kind.VERB

    async def handle(request: _Request) -> NatsResponse:
        began = time.perf_counter()
        with tracing.span(subjects.rpc_store(verb), kind="server", parent=request.headers) as span:
            # While Postgres hangs requests queue up, and most of those who sent them have gone when it is back.
            reply = _EXPIRED if request.has_expired else await respond(verb, decoder, answer, request.body)
            code = reply.code if isinstance(reply, rpc.RpcError) else "ok"
            span.set_attribute("code", code)
        metrics.RPC_SECONDS.labels(verb, code).observe(time.perf_counter() - began)
        return NatsResponse(msgspec.json.encode(reply))

    return handle


async def respond(verb: str, decoder: "msgspec.json.Decoder[Any]", answer: Answer, body: bytes) -> msgspec.Struct:
    """Answer one request; every error becomes an ``RpcError`` here, and only here."""
    try:
        request = decoder.decode(body)
    except UNDECODABLE as error:
        return rpc.RpcError(code="invalid", message=f"The request does not decode: {error}")
    try:
        try:
            return await answer(request)
        except Exception as error:
            # A connection that Postgres closed behind the pool's back (a restart) shows only when it is used.
            if isinstance(error, StoreError | TimeoutError) or not is_outage(error):
                raise
            return await answer(request)
    except StoreError as error:
        return rpc.RpcError(code=error.code, message=str(error), retry_after=error.retry_after)
    except Exception as error:
        if is_outage(error):
            log.warning("Postgres failed a request: %s", describe(error), extra={"verb": verb})
            away = Unavailable()
            return rpc.RpcError(code=away.code, message=str(away), retry_after=away.retry_after)
        log.exception("A request failed", extra={"verb": verb})
        return rpc.RpcError(code="internal", message="Something went wrong here. It has been logged.")


def _check_ids(*found: str) -> None:
    """What is no id cannot exist."""
    if not all(ids.is_id(one) for one in found):
        raise NotFound("There is no such chat or message.")


def _limit(asked: int) -> int:
    return max(1, min(asked, limits.MAX_PAGE))


def _clean(text: str | None) -> str | None:
    """Postgres' text cannot hold NUL."""
    return None if text is None else text.replace("\x00", "�")
