"""Which models there are."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from llm_worker import failures
from llm_worker.errors import ProviderFailure
from parley.contracts import subjects
from parley.contracts.rpc import ModelList, RpcError

log = logging.getLogger(__name__)

QUEUE_GROUP: Final = "llm-worker"
OPENAI_DEFAULT: Final = "gpt-4o-mini"
_REMEMBERED: Final = 60.0


class Models:
    """The provider's models, asked at most once a minute.

    Args:
        fetch: Asks the provider; may raise :class:`ProviderFailure`.
        fixed_default: The default whatever the provider lists; None: the first that it lists.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[list[str]]],
        *,
        fixed_default: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._fixed_default = fixed_default
        self._clock = clock
        self._listed: list[str] = []
        self._fresh_until = float("-inf")
        self._asking = asyncio.Lock()

    async def list(self) -> ModelList:
        """Return what the provider offers.

        Raises:
            ProviderFailure
        """
        async with self._asking:
            if self._clock() >= self._fresh_until:
                self._listed = await self._fetch()
                self._fresh_until = self._clock() + _REMEMBERED
        listed = self._listed
        return ModelList(items=listed, default=self._fixed_default or (listed[0] if listed else None))

    def is_known(self, model: str) -> bool:
        """Whether it is one that the provider has listed, or the default that is set."""
        return model == self._fixed_default or model in self._listed

    async def learn(self) -> None:
        """Ask which models there are, so that they are known by name; best effort."""
        try:
            await self.list()
        except ProviderFailure as failure:
            log.debug("Listing models: %s (%s)", failure.code, failure.detail)

    async def default(self) -> str:
        """Return the model for a chat that names none.

        Raises:
            ProviderFailure
        """
        if self._fixed_default is not None:
            return self._fixed_default
        default = (await self.list()).default
        if default is None:
            raise failures.no_model()
        return default

    async def serve(self, nc: Client) -> Subscription:
        """Answer ``rpc.models.list``, as one of all workers."""
        return await nc.subscribe(subjects.RPC_MODELS_LIST, queue=QUEUE_GROUP, cb=self._answer)

    async def _answer(self, message: Msg) -> None:
        if not message.reply:
            return
        reply: ModelList | RpcError
        try:
            reply = await self.list()
        except ProviderFailure as failure:
            log.warning("Listing models: %s (%s)", failure.code, failure.detail)
            if self._fixed_default is not None:
                # Not every provider lists its models; the one that is set can be used all the same.
                reply = ModelList(items=[self._fixed_default], default=self._fixed_default)
            else:
                reply = RpcError(code="unavailable", message=failure.message, retry_after=failure.retry_after or 5.0)
        await message.respond(msgspec.json.encode(reply))
