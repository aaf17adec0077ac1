"""The list of models: what the provider offers, and which model a chat may use."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from llm_worker.errors import ProviderError
from llm_worker.provider import chunks, error_templates
from parley.contracts import subjects
from parley.contracts.rpc import ModelList, RpcError

log = logging.getLogger(__name__)

QUEUE_GROUP: Final = "llm-worker"
OPENAI_DEFAULT: Final = "gpt-4o-mini"
NO_LIST: Final = frozenset((404, 405, 501))
"""The statuses of a provider that does not list its models."""

_MAX_AGE: Final = 60.0
_RETRY_AFTER: Final = 5.0
"""Seconds between two requests for the list, after one failed or for a model that the list lacks."""

_MAX_MODELS: Final = 5000
_MAX_NAME: Final = 200


class Models:
    """The provider's models, requested at most once a minute.

    Args:
        fetch: Requests the list; None: the provider has none. May raise :class:`ProviderError`.
        chosen: The model of chats that name none; always allowed.
        unlisted: Whether any model is allowed.
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
        self._requested_at = float("-inf")
        self._error: ProviderError | None = None
        self._request: asyncio.Task[None] | None = None

    async def list(self) -> ModelList:
        """Return what the provider offers; a list that is out of date rather than none.

        Raises:
            ProviderError: there is no list yet, and MODEL is not set.
        """
        await self._refresh(_MAX_AGE)
        items = list(self._listed or ())
        if self._chosen is not None and self._chosen not in items:
            items.insert(0, self._chosen)
        if not items and self._error is not None:
            raise self._error
        return ModelList(items=items, default=self._chosen or (items[0] if items else None))

    def is_known(self, model: str) -> bool:
        """Whether the provider has listed the model, or MODEL names it."""
        return model == self._chosen or model in (self._listed or ())

    async def load(self) -> None:
        """Request the list in advance; an error is logged."""
        try:
            listed = await self.list()
        except ProviderError as error:
            log.warning("Listing models: %s (%s) %s", error.code, error.detail, error.advice)
            return
        if self._chosen is None and len(listed.items) > 1:
            log.warning(
                "MODEL is not set: a chat that names no model gets %r, the first of %d that the provider lists",
                listed.default,
                len(listed.items),
            )

    async def resolve(self, model: str | None) -> str:
        """Return ``model`` if it is allowed, the default for None.

        Raises:
            ProviderError
        """
        if model is None:
            return await self._default()
        if not model.isprintable() or not model.strip() or len(model) > _MAX_NAME:
            raise _not_listed(model)
        if self._unlisted or self.is_known(model):
            return model
        await self._refresh(_RETRY_AFTER)
        if self.is_known(model):
            return model
        if self._listed is None and self._error is not None:
            raise self._error
        raise _not_listed(model)

    async def serve(self, nc: Client) -> Subscription:
        """Answer ``rpc.models.list``, in the queue group of all workers."""
        return await nc.subscribe(subjects.RPC_MODELS_LIST, queue=QUEUE_GROUP, cb=self._on_list)

    async def _default(self) -> str:
        if self._chosen is not None:
            return self._chosen
        default = (await self.list()).default
        if default is None:
            raise error_templates.NO_MODEL.error()
        return default

    async def _refresh(self, max_age: float) -> None:
        """Request the list if the last request is older than ``max_age``; callers meanwhile share one request."""
        if self._request is None:
            if self._error is not None or self._listed is None:
                max_age = min(max_age, _RETRY_AFTER)
            if self._clock() < self._requested_at + max_age:
                return
            self._request = asyncio.create_task(self._fetch_list())
        request = self._request
        # Not `shield`: since Python 3.14 it logs what a task raises after its waiter was cancelled.
        await asyncio.wait([request])
        request.result()

    async def _fetch_list(self) -> None:
        try:
            self._listed = await self._fetch() or []
            self._error = None
        except ProviderError as error:
            if self._listed is not None:
                log.warning("The list of models is out of date: %s (%s)", error.code, error.detail)
            self._error = error
        finally:
            self._requested_at = self._clock()
            self._request = None

    async def _on_list(self, message: Msg) -> None:
        if not message.reply:
            return
        reply: ModelList | RpcError
        try:
            reply = await self.list()
        except ProviderError as error:
            log.warning("Listing models: %s (%s) %s", error.code, error.detail, error.advice)
            reply = RpcError(code="unavailable", message=error.message, retry_after=error.retry_after or 5.0)
        await message.respond(msgspec.json.encode(reply))


def parse_names(body: bytes) -> list[str]:
    """Return the names in a list of models, in order: OpenAI's ``{"data": [{"id": …}]}``, or a similar shape.

    Raises:
        ProviderError: the body is no such list.
    """
    try:
        value: Any = chunks.parse(body)
    except chunks.NotJson as error:
        raise error_templates.UNREADABLE.error(f"the list of models: {error}") from error
    if isinstance(value, dict):
        value = next((value[field] for field in ("data", "models", "items") if field in value), value)
        if value is None:
            value = []
    if not isinstance(value, list):
        raise error_templates.UNREADABLE.error(f"the list of models: {body[:200]!r}")
    found: dict[str, None] = {}
    for entry in value[:_MAX_MODELS]:
        if isinstance(entry, dict):
            entry = next((entry[field] for field in ("id", "name", "model") if isinstance(entry.get(field), str)), None)
        if isinstance(entry, str) and entry.isprintable() and 0 < len(entry) <= _MAX_NAME:
            found[entry] = None
    return list(found)


def _not_listed(model: str) -> ProviderError:
    return error_templates.NOT_LISTED.error("not in the provider's list", model=model[:100])
