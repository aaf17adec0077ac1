"""Requests to chat-store (and, for the list of models, to an llm-worker)."""

import asyncio
import contextlib
import logging
import time
from typing import TypeVar

import msgspec

from gateway.bus.access_cache import Access, AccessCache, Freshness
from gateway.bus.connection import Bus
from gateway.errors import Conflict, Forbidden, GatewayError, InternalError, Invalid, NotFound, TooMany, Unavailable
from gateway.metrics import STALE_ACCESS, UNCHECKED_PROMPTS
from parley.contracts import rpc, subjects
from parley.contracts.completion import prompt_bytes
from parley.contracts.events import PromptSubmitted
from parley.contracts.ids import new_id
from parley.runtime.backoff import Backoff
from parley.runtime.nats import requests
from parley.runtime.nats.errors import TRANSIENT_ERRORS, BusUnavailable, NoResponder, RpcRefused

log = logging.getLogger(__name__)

Reply = TypeVar("Reply")

_STALE_TIMEOUT = 0.5
"""Seconds that a send waits for chat-store when a stale entry of the access cache will do."""
_ADMIT_TIMEOUT = 0.5
_UNLIMITED_SECONDS = 60.0
"""How long no prompt is admitted by a request, after a reply that no limit is set."""
_FIRST_DELAY = 0.05
_LONGEST_DELAY = 0.5
_MODELS_FRESH_SECONDS = 60.0
_TOO_MANY_SECONDS = 60.0
"""``Retry-After`` of a refusal that no time ends by itself, such as the number of a chat's members."""


class StoreClient:
    """Sends requests; every method raises a :class:`GatewayError`.

    A request that has no responder is sent again until its time is up: every request is idempotent by the ids in it, so
    a restart of chat-store is a delay and not an error.
    """

    def __init__(self, bus: Bus, access: AccessCache, timeout: float) -> None:
        self._bus = bus
        self._access = access
        self._timeout = timeout
        self._unlimited_until = 0.0
        self._models: rpc.ModelList | None = None
        self._models_since = 0.0

    async def ask(self, request: rpc.Request[Reply]) -> Reply:
        """Send a request and return its reply; the access cache records what it proves."""
        return await self._ask(request, timeout=self._timeout)

    async def require_access(
        self, user_id: str, chat_id: str, access: Access = "read", *, refresh: bool = False
    ) -> None:
        """Return when the user may read the chat, or write to it.

        The reply is cached for a minute, and for an hour while chat-store cannot be asked (docs/decisions/0012).

        Args:
            refresh: Ask, whatever the cache holds.

        Raises:
            NotFound: no such chat, or not this user's.
            Forbidden: the user may only read it.
        """
        if refresh:
            self._access.evict(user_id, chat_id)
        cached = self._access.lookup(user_id, chat_id, time.monotonic(), access)
        request = rpc.CheckAccess(user_id=user_id, chat_id=chat_id, action=access)
        if cached is Freshness.MISSING:
            await self.ask(request)
        elif cached is Freshness.STALE:
            try:
                await self._ask(request, timeout=_STALE_TIMEOUT, retry=False)
            except Unavailable:
                STALE_ACCESS.inc()

    async def admit(self, prompt: PromptSubmitted) -> None:
        """Return when the prompt may be published, by the limits that chat-store counts (docs/decisions/0055).

        While chat-store cannot be asked every prompt may: chat-store decides when it stores the prompt, and a refused
        one ends as ``rejected``.

        Raises:
            TooMany: a limit is reached; ``code`` names it.
            Forbidden: the user may not use the model.
        """
        if time.monotonic() < self._unlimited_until:
            return
        request = rpc.AdmitPrompt(
            user_id=prompt.user_id,
            chat_id=prompt.chat_id,
            message_id=prompt.message_id,
            bytes=prompt_bytes(prompt.content, prompt.completion),
            model=prompt.model,
        )
        try:
            admitted = await self._ask(request, timeout=_ADMIT_TIMEOUT, retry=False)
        except Unavailable:
            UNCHECKED_PROMPTS.inc()
            return
        if not admitted.limited:
            self._unlimited_until = time.monotonic() + _UNLIMITED_SECONDS

    async def search(self, user_id: str, query: str, before: str | None, limit: int) -> rpc.SearchReply:
        """Search; a caller that is cancelled, or whose time is up, cancels the search in chat-store too."""
        search_id = new_id()
        request = rpc.Search(user_id=user_id, query=query, before=before, limit=limit, search_id=search_id)
        try:
            return await self.ask(request)
        except (asyncio.CancelledError, Unavailable):
            with contextlib.suppress(*TRANSIENT_ERRORS, Unavailable):
                await self._bus.client.publish(
                    subjects.ctl_search_cancel(search_id), msgspec.json.encode(rpc.CancelSearch())
                )
            raise

    async def list_models(self) -> rpc.ModelList:
        """Return the models that the provider offers, cached for a minute; an older list while no worker replies.

        Raises:
            Unavailable: no worker replies, and none ever did.
        """
        now = time.monotonic()
        if self._models is not None and now - self._models_since < _MODELS_FRESH_SECONDS:
            return self._models
        try:
            self._models = await self._ask(rpc.ListModels(), timeout=self._timeout, retry=False)
            self._models_since = now
        except Unavailable:
            if self._models is None:
                raise
        return self._models

    async def _ask(self, request: rpc.Request[Reply], *, timeout: float, retry: bool = True) -> Reply:
        try:
            reply = await self._send(request, timeout=timeout, retry=retry)
        except (NotFound, Forbidden):
            self._access.record_refusal(request)
            raise
        self._access.record_success(request, time.monotonic())
        return reply

    async def _send(self, request: rpc.Request[Reply], *, timeout: float, retry: bool) -> Reply:
        subject = request.subject()
        ends = time.monotonic() + timeout
        backoff = Backoff(_FIRST_DELAY, _LONGEST_DELAY)
        while True:
            await self._bus.wait_until_up(max(0.0, ends - time.monotonic()))
            try:
                return await requests.ask(self._bus.client, request, timeout=max(0.05, ends - time.monotonic()))
            except RpcRefused as refusal:
                raise _as_gateway_error(refusal) from refusal
            except NoResponder as error:
                delay = backoff.next_delay()
                if not retry or time.monotonic() + delay >= ends:
                    log.warning("No responder for %s", subject)
                    raise _unavailable() from error
                log.debug("No responder for %s yet", subject)
            except BusUnavailable as error:
                log.warning("No reply to %s", subject)
                raise _unavailable() from error
            await asyncio.sleep(delay)


def _unavailable() -> Unavailable:
    return Unavailable("This cannot be looked up at the moment. Nothing is lost; try again soon.")


def _as_gateway_error(refusal: RpcRefused) -> GatewayError:
    match refusal.code:
        case "not_found":
            return NotFound(refusal.message)
        case "forbidden":
            return Forbidden(refusal.message, code=refusal.reason)
        case "conflict":
            return Conflict(refusal.message)
        case "invalid":
            return Invalid(refusal.message)
        case "too_many":
            return TooMany(refusal.message, code=refusal.reason, retry_after=refusal.retry_after or _TOO_MANY_SECONDS)
        case "unavailable":
            return Unavailable(refusal.message, retry_after=refusal.retry_after or 2.0)
        case _:
            log.error("A request was refused with %s: %s", refusal.code, refusal.message)
            return InternalError("Something went wrong behind this address.")
