"""Which models there are, and which of them may be asked for."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from llm_worker.errors import ProviderFailure
from llm_worker.provider import chunks, failures
from parley.contracts import subjects
from parley.contracts.rpc import ModelList, RpcError

log = logging.getLogger(__name__)

QUEUE_GROUP: Final = "llm-worker"
OPENAI_DEFAULT: Final = "gpt-4o-mini"
NO_LIST: Final = frozenset((404, 405, 501))
"""The statuses of a provider that does not list its models."""

_REMEMBERED: Final = 60.0
_ASKED_AGAIN: Final = 5.0
"""Seconds before the provider is asked again, after it failed or for a model that its list lacks."""

_MOST_MODELS: Final = 5000
_LONGEST_NAME: Final = 200


class Models:
    """The provider's models, asked at most once a minute.

    Args:
        fetch: Asks the provider; None: it has no list. May raise :class:`ProviderFailure`.
        chosen: The model that is set for chats that name none; may be asked for whatever the provider lists.
        unlisted: Whether any model may be asked for.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[list[str] | None]],
        *,
        chosen: str | None,
        unlisted: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._chosen = chosen
        self._unlisted = unlisted
        self._clock = clock
        self._listed: list[str] | None = None
        self._asked_at = float("-inf")
        self._failure: ProviderFailure | None = None
        self._asking: asyncio.Task[None] | None = None

    async def list(self) -> ModelList:
        """Return what the provider offers; a list that is out of date rather than none.

        Raises:
            ProviderFailure: there is no list yet, and no model that is set.
        """
        await self._refresh(_REMEMBERED)
        items = list(self._listed or ())
        if self._chosen is not None and self._chosen not in items:
            items.insert(0, self._chosen)
        if not items and self._failure is not None:
            raise self._failure
        return ModelList(items=items, default=self._chosen or (items[0] if items else None))

    def is_known(self, model: str) -> bool:
        """Whether it is one that the provider has listed, or the one that is set."""
        return model == self._chosen or model in (self._listed or ())

    async def learn(self) -> None:
        """Ask which models there are, so that they are known by name; best effort."""
        try:
            listed = await self.list()
        except ProviderFailure as failure:
            log.warning("Listing models: %s (%s) %s", failure.code, failure.detail, failure.advice)
            return
        if self._chosen is None and len(listed.items) > 1:
            log.warning(
                "MODEL is not set: a chat that names no model gets %r, the first of %d that the provider lists",
                listed.default,
                len(listed.items),
            )

    async def named(self, model: str | None) -> str:
        """Return the model to ask for: ``model`` if it may be asked for, the default for None.

        Raises:
            ProviderFailure
        """
        if model is None:
            return await self._default()
        if not model.isprintable() or not model.strip() or len(model) > _LONGEST_NAME:
            raise failures.not_offered(model)
        if self._unlisted or self.is_known(model):
            return model
        await self._refresh(_ASKED_AGAIN)
        if self.is_known(model):
            return model
        if self._listed is None and self._failure is not None:
            raise self._failure
        raise failures.not_offered(model)

    async def serve(self, nc: Client) -> Subscription:
        """Answer ``rpc.models.list``, as one of all workers."""
        return await nc.subscribe(subjects.RPC_MODELS_LIST, queue=QUEUE_GROUP, cb=self._answer)

    async def _default(self) -> str:
        if self._chosen is not None:
            return self._chosen
        default = (await self.list()).default
        if default is None:
            raise failures.no_model("Set MODEL: the provider lists no models.")
        return default

    async def _refresh(self, after: float) -> None:
        """Ask for the list if that was last done longer ago; whoever comes meanwhile shares the request."""
        if self._asking is None:
            if self._failure is not None or self._listed is None:
                after = min(after, _ASKED_AGAIN)
            if self._clock() < self._asked_at + after:
                return
            self._asking = asyncio.create_task(self._ask())
        asking = self._asking
        # Not `shield`: since Python 3.14 it logs what a task raises after its waiter was cancelled.
        await asyncio.wait([asking])
        asking.result()

    async def _ask(self) -> None:
        try:
            self._listed = await self._fetch() or []
            self._failure = None
        except ProviderFailure as failure:
            if self._listed is not None:
                log.warning("The list of models is out of date: %s (%s)", failure.code, failure.detail)
            self._failure = failure
        finally:
            self._asked_at = self._clock()
            self._asking = None

    async def _answer(self, message: Msg) -> None:
        if not message.reply:
            return
        reply: ModelList | RpcError
        try:
            reply = await self.list()
        except ProviderFailure as failure:
            log.warning("Listing models: %s (%s) %s", failure.code, failure.detail, failure.advice)
            reply = RpcError(code="unavailable", message=failure.message, retry_after=failure.retry_after or 5.0)
        await message.respond(msgspec.json.encode(reply))


def names(body: bytes) -> list[str]:
    """The names in a list of models, in its order: OpenAI's ``{"data": [{"id": …}]}``, or one that resembles it.

    Raises:
        ProviderFailure: it is not a list.
    """
    try:
        value: Any = chunks.parse(body)
    except chunks.NotJson as error:
        raise failures.not_understood(f"the list of models: {error}") from error
    if isinstance(value, dict):
        value = next((value[field] for field in ("data", "models", "items") if field in value), value)
        if value is None:
            value = []
    if not isinstance(value, list):
        raise failures.not_understood(f"the list of models: {body[:200]!r}")
    found: dict[str, None] = {}
    for entry in value[:_MOST_MODELS]:
        if isinstance(entry, dict):
            entry = next((entry[field] for field in ("id", "name", "model") if isinstance(entry.get(field), str)), None)
        if isinstance(entry, str) and entry.isprintable() and 0 < len(entry) <= _LONGEST_NAME:
            found[entry] = None
    return list(found)
