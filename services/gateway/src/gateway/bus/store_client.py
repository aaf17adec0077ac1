"""Asking chat-store (and, for the models, an llm-worker) over request-reply."""

import asyncio
import contextlib
import logging
import random
import time
from typing import Any, TypeVar

import msgspec

from gateway.bus.access_cache import AccessMemory, Known
from gateway.bus.connection import Bus
from gateway.errors import Broken, Conflict, Forbidden, GatewayError, Invalid, NotFound, TooMany, Unavailable
from gateway.metrics import STALE_ACCESS
from parley.contracts import rpc, subjects
from parley.contracts.ids import new_id
from parley.contracts.resources import Chat, Member, Message, TokenUsage
from parley.runtime.nats.errors import TRANSIENT_ERRORS, BusUnavailable, NoResponder, RpcRefused
from parley.runtime.nats.requests import ask

log = logging.getLogger(__name__)

T = TypeVar("T")

_PATIENCE_WITH_MEMORY = 0.5
"""Seconds that a send waits for chat-store when we remember the answer of an hour ago."""
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.5
_MODELS_FRESH = 60.0


class StoreClient:
    """One method per verb; each raises a :class:`GatewayError`.

    Every request is idempotent by the ids in it, so one that nobody was there to take is sent again until its time is
    up: a chat-store that restarts is a delay and no error.
    """

    def __init__(self, bus: Bus, access: AccessMemory, timeout: float) -> None:
        self._bus = bus
        self._access = access
        self._timeout = timeout
        self._models: rpc.ModelList | None = None
        self._models_since = 0.0

    async def require_access(self, user_id: str, chat_id: str, *, afresh: bool = False) -> None:
        """Return when the user may use the chat.

        The answer is remembered for a minute, and for an hour while chat-store cannot be asked (docs/decisions/0012);
        ``afresh``: what is remembered is not to be trusted.

        Raises:
            NotFound: no such chat, or not this user's.
        """
        if afresh:
            self._access.forget(user_id, chat_id)
        known = self._access.lookup(user_id, chat_id, time.monotonic())
        if known is Known.FRESH:
            return
        body = rpc.CheckAccess(user_id=user_id, chat_id=chat_id)
        try:
            if known is Known.STALE:
                await self._ask(body, rpc.AccessReply, timeout=_PATIENCE_WITH_MEMORY, insist=False)
            else:
                await self._ask(body, rpc.AccessReply)
        except NotFound:
            self._access.forget(user_id, chat_id)
            raise
        except Unavailable:
            if known is not Known.STALE:
                raise
            STALE_ACCESS.inc()
            return
        self._access.remember(user_id, chat_id, time.monotonic())

    async def create_chat(
        self, user_id: str, chat_id: str, title: str | None, model: str | None, system_prompt: str | None
    ) -> Chat:
        body = rpc.CreateChat(user_id=user_id, chat_id=chat_id, title=title, model=model, system_prompt=system_prompt)
        chat = (await self._ask(body, rpc.ChatReply)).chat
        self._access.remember(user_id, chat_id, time.monotonic())
        return chat

    async def get_chat(self, user_id: str, chat_id: str) -> Chat:
        body = rpc.GetChat(user_id=user_id, chat_id=chat_id)
        return (await self._ask_about(user_id, chat_id, body, rpc.ChatReply)).chat

    async def list_chats(self, user_id: str, before: str | None, limit: int) -> rpc.ChatList:
        return await self._ask(rpc.ListChats(user_id=user_id, before=before, limit=limit), rpc.ChatList)

    async def update_chat(self, body: rpc.UpdateChat) -> Chat:
        return (await self._ask_about(body.user_id, body.chat_id, body, rpc.ChatReply)).chat

    async def delete_chat(self, user_id: str, chat_id: str) -> None:
        await self._ask(rpc.DeleteChat(user_id=user_id, chat_id=chat_id), rpc.Done)
        self._access.forget(user_id, chat_id)

    async def list_messages(self, user_id: str, chat_id: str, before: str | None, limit: int) -> rpc.MessageList:
        body = rpc.ListMessages(user_id=user_id, chat_id=chat_id, before=before, limit=limit)
        return await self._ask_about(user_id, chat_id, body, rpc.MessageList)

    async def get_message(self, user_id: str, chat_id: str, message_id: str) -> Message:
        """Return a message, once what is accepted now has been stored; a prompt that was not stored is ``rejected``."""
        body = rpc.GetMessage(user_id=user_id, chat_id=chat_id, message_id=message_id)
        # A rejected prompt says nothing of the right to the chat, so nothing is remembered.
        return (await self._ask(body, rpc.MessageReply)).message

    async def regenerate(
        self, user_id: str, chat_id: str, message_id: str, answer_id: str, model: str | None
    ) -> Message:
        body = rpc.Regenerate(user_id=user_id, chat_id=chat_id, message_id=message_id, answer_id=answer_id, model=model)
        return (await self._ask_about(user_id, chat_id, body, rpc.MessageReply)).message

    async def delete_message(self, user_id: str, chat_id: str, message_id: str) -> None:
        body = rpc.DeleteMessage(user_id=user_id, chat_id=chat_id, message_id=message_id)
        await self._ask_about(user_id, chat_id, body, rpc.Done)

    async def stop(self, user_id: str, chat_id: str, message_id: str | None) -> None:
        body = rpc.Stop(user_id=user_id, chat_id=chat_id, message_id=message_id)
        await self._ask_about(user_id, chat_id, body, rpc.Done)

    async def search(self, user_id: str, query: str, before: str | None, limit: int) -> rpc.SearchReply:
        """Search; when the caller is cancelled or has waited long enough, so is the search."""
        search_id = new_id()
        body = rpc.Search(user_id=user_id, query=query, before=before, limit=limit, search_id=search_id)
        try:
            return await self._ask(body, rpc.SearchReply)
        except (asyncio.CancelledError, Unavailable):
            with contextlib.suppress(*TRANSIENT_ERRORS, Unavailable):
                await self._bus.client.publish(
                    subjects.ctl_search_cancel(search_id), msgspec.json.encode(rpc.CancelSearch())
                )
            raise

    async def usage(self, user_id: str) -> list[TokenUsage]:
        return (await self._ask(rpc.GetUsage(user_id=user_id), rpc.UsageReply)).items

    async def list_members(self, user_id: str, chat_id: str) -> list[Member]:
        body = rpc.ListMembers(user_id=user_id, chat_id=chat_id)
        return (await self._ask_about(user_id, chat_id, body, rpc.MemberList)).items

    async def put_member(self, user_id: str, chat_id: str, member_id: str) -> Member:
        body = rpc.PutMember(user_id=user_id, chat_id=chat_id, member_id=member_id)
        return (await self._ask(body, rpc.MemberReply)).member

    async def delete_member(self, user_id: str, chat_id: str, member_id: str) -> None:
        await self._ask(rpc.DeleteMember(user_id=user_id, chat_id=chat_id, member_id=member_id), rpc.Done)
        self._access.forget(member_id, chat_id)

    async def models(self) -> rpc.ModelList:
        """The models that the provider offers, remembered for a minute; an older list while no worker answers.

        Raises:
            Unavailable: no worker answers, and none ever did.
        """
        now = time.monotonic()
        if self._models is not None and now - self._models_since < _MODELS_FRESH:
            return self._models
        try:
            self._models = await self._request(
                subjects.RPC_MODELS_LIST, rpc.ListModels(), rpc.ModelList, timeout=self._timeout, insist=False
            )
            self._models_since = now
        except Unavailable:
            if self._models is None:
                raise
        return self._models

    async def _ask_about(self, user_id: str, chat_id: str, body: Any, reply_type: type[T]) -> T:
        """As :meth:`_ask`, and remember or forget what the answer says about the user's right to the chat.

        What was not found may be a message and not the chat; then the next send asks once more, that is all.
        """
        try:
            reply = await self._ask(body, reply_type)
        except NotFound:
            self._access.forget(user_id, chat_id)
            raise
        self._access.remember(user_id, chat_id, time.monotonic())
        return reply

    async def _ask(self, body: Any, reply_type: type[T], *, timeout: float | None = None, insist: bool = True) -> T:
        subject = subjects.rpc_store(body.VERB)
        return await self._request(subject, body, reply_type, timeout=timeout or self._timeout, insist=insist)

    async def _request(self, subject: str, body: Any, reply_type: type[T], *, timeout: float, insist: bool) -> T:
        ends = time.monotonic() + timeout
        longest = _FIRST_PAUSE
        while True:
            # With jitter, or all who wait would ask at the same moments.
            pause = random.uniform(0.5, 1.0) * longest
            longest = min(2 * longest, _LONGEST_PAUSE)
            await self._bus.wait_until_up(max(0.0, ends - time.monotonic()))
            try:
                return await ask(self._bus.client, body, subject=subject, timeout=max(0.05, ends - time.monotonic()))
            except RpcRefused as refusal:
                raise _as_gateway_error(refusal) from refusal
            except NoResponder as error:
                if not insist or time.monotonic() + pause >= ends:
                    log.warning("Nobody answers %s", subject)
                    raise _away() from error
                log.debug("Nobody answers %s yet", subject)
            except BusUnavailable as error:
                log.warning("No answer to %s", subject)
                raise _away() from error
            await asyncio.sleep(pause)


def _away() -> Unavailable:
    return Unavailable("This cannot be looked up at the moment. Nothing is lost; try again soon.")


def _as_gateway_error(refusal: RpcRefused) -> GatewayError:
    match refusal.code:
        case "not_found":
            return NotFound(refusal.message)
        case "forbidden":
            return Forbidden(refusal.message)
        case "conflict":
            return Conflict(refusal.message)
        case "invalid":
            return Invalid(refusal.message)
        case "too_many":
            return TooMany(refusal.message, retry_after=refusal.retry_after)
        case "unavailable":
            return Unavailable(refusal.message, retry_after=refusal.retry_after or 2.0)
        case _:
            log.error("A request was refused with %s: %s", refusal.code, refusal.message)
            return Broken("Something went wrong behind this address.")
