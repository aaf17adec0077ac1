"""The provider: any OpenAI-compatible API, through the ``openai`` client.

The client makes the request and knows its errors; the bytes of the answer we read ourselves, because its stream objects
cost a hundred microseconds a token. Its own retries are off: how often to ask again is the generation's to decide.
"""

import asyncio
import contextlib
import importlib
import logging
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llm_worker import failures
from parley.contracts.rpc import ContextMessage

if TYPE_CHECKING:
    import httpx2
    import openai
    from openai._response import AsyncAPIResponse

log = logging.getLogger(__name__)

_OPENAI: Final = "https://api.openai.com/v1"
_NO_KEY: Final = "none"
"""Sent where no key is needed; the client insists on one."""

_NOT_A_STREAM: Final = ("application/json", "text/html")
_WRITE_TIMEOUT: Final = 30.0
_LIST_TIMEOUT: Final = 10.0
_KEEPALIVE: Final = 60.0


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model] | None = None


_decode_models = msgspec.json.Decoder(_Models).decode

Take = Callable[[bytes], bool]
"""Takes what one read held; returns whether to go on."""

Pour = Callable[[Take], Awaitable[None]]
"""Hands over each read of an answer as soon as it comes, until the end or until it is told not to go on."""


class Provider:
    """Asks one API. ``async with`` imports the client library (it takes a second) and closes its connections.

    Args:
        base_url: OpenAI's own when None.
        api_key: None where none is needed.
        connections: How many at once, at most.
    """

    def __init__(self, *, base_url: str | None, api_key: str | None, connections: int, connect_timeout: float) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._connections = connections
        self._connect_timeout = connect_timeout
        self._client: openai.AsyncOpenAI
        # Servers that do not know stream_options refuse the request; after the first refusal we ask without.
        self._asks_usage = True

    async def __aenter__(self) -> "Provider":
        await asyncio.to_thread(importlib.import_module, "openai.resources.chat.completions")
        import httpx2
        import openai

        self._client = openai.AsyncOpenAI(
            base_url=self._base_url or _OPENAI,
            api_key=self._api_key or _NO_KEY,
            max_retries=0,
            # Silence is the generation's to notice: before the first token and between two it means different things.
            timeout=httpx2.Timeout(None, connect=self._connect_timeout, write=_WRITE_TIMEOUT),
            # A compressed stream would be held back until a block is full.
            default_headers={"Accept-Encoding": "identity"},
            http_client=self._http_client(),
        )
        # The client imports more when these are first looked at: the first answer would wait, and all others with it.
        await asyncio.to_thread(lambda: (self._client.chat.completions, self._client.models))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    @contextlib.asynccontextmanager
    async def answering(self, model: str, messages: Sequence[ContextMessage]) -> AsyncIterator[Pour]:
        """Ask for an answer; within ``async with``, let it pour out. Leaving closes the connection.

        Raises:
            ProviderFailure: on entering, and from the pouring.
        """
        self._require_key()
        with self._translated(model):
            async with contextlib.AsyncExitStack() as stack:
                response = await self._request(stack, model, messages)
                content_type = response.headers.get("content-type", "")
                if content_type.startswith(_NOT_A_STREAM):
                    raise failures.not_understood(f"content-type {content_type}")
                yield _pour(response.http_response)

    async def list_models(self) -> list[str]:
        """Return the names of the models that the provider lists, in its order.

        Raises:
            ProviderFailure
        """
        self._require_key()
        with self._translated(""):
            response = await self._client.models.with_raw_response.list(timeout=_LIST_TIMEOUT)
        try:
            # The client's own types raise whatever comes to them when a server's answer is not what they expect.
            return [model.id for model in _decode_models(response.content).data or ()]
        except msgspec.DecodeError as error:
            raise failures.not_understood(f"the list of models: {error}") from error

    async def _request(
        self, stack: contextlib.AsyncExitStack, model: str, messages: Sequence[ContextMessage]
    ) -> "AsyncAPIResponse[Any]":
        import openai

        create: Any = self._client.chat.completions.with_streaming_response.create
        # As extra_body, for the client would check each message against its types, 0.2 ms each: a long chat would hold
        # up all other answers.
        body = {
            "model": model,
            "messages": [],
            "stream": True,
            "extra_body": {
                "messages": [{"role": message.role, "content": message.content} for message in messages],
            },
        }
        if self._asks_usage:
            try:
                return await stack.enter_async_context(create(**body, stream_options={"include_usage": True}))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if b"stream_options" not in error.response.content:
                    raise
                log.info("The provider does not know stream_options: usage is not counted")
                self._asks_usage = False
        return await stack.enter_async_context(create(**body))

    def _http_client(self) -> "httpx2.AsyncClient":
        import httpx2

        from llm_worker.transport import DirectTransport

        if not needs_proxy(self._base_url or _OPENAI):
            # It opens as many connections as there are answers at once, which our slots limit.
            return httpx2.AsyncClient(transport=DirectTransport(keepalive=_KEEPALIVE))
        limits = httpx2.Limits(
            max_connections=self._connections,
            max_keepalive_connections=self._connections,
            keepalive_expiry=_KEEPALIVE,
        )
        return httpx2.AsyncClient(limits=limits)

    def _require_key(self) -> None:
        if self._api_key is None and self._base_url is None:
            raise failures.no_key()

    @contextlib.contextmanager
    def _translated(self, model: str) -> Iterator[None]:
        """Turn the client's exceptions into failures of ours."""
        import httpx2
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            raise failures.from_status(
                error.status_code, error.response.content, error.response.headers, model=model
            ) from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise failures.unreachable(str(self._client.base_url), repr(cause)) from error
        except openai.OpenAIError as error:
            raise failures.internal(repr(error)) from error
        except httpx2.HTTPError as error:
            raise failures.cut_off(repr(error)) from error


def needs_proxy(url: str) -> bool:
    """Whether the environment (``HTTPS_PROXY``, ``NO_PROXY``, …) sends requests to ``url`` through a proxy."""
    parts = urllib.parse.urlsplit(url)
    proxies = urllib.request.getproxies()
    return (parts.scheme in proxies or "all" in proxies) and not urllib.request.proxy_bypass(parts.netloc)


def _pour(response: "httpx2.Response") -> Pour:
    """What the transport reads, straight from its callback where it is ours and there is nothing to decode."""
    from llm_worker.transport import BODY, DirectBody

    body = response.extensions.get(BODY)
    if isinstance(body, DirectBody) and "content-encoding" not in response.headers:
        return body.pour

    async def pour(take: Take) -> None:
        async for read in response.aiter_bytes():
            if not take(read):
                return

    return pour
