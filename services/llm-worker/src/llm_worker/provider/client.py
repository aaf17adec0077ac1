"""The provider: any OpenAI-compatible API, through the ``openai`` client over its aiohttp transport.

The client makes the request. What an error means we say ourselves, and the bytes of a stream we read ourselves, because
its stream objects cost a hundred microseconds a token (``docs/decisions/0013``). Its own retries are off: how often to
ask again is the generation's to decide.
"""

import asyncio
import contextlib
import importlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from llm_worker.errors import ProviderFailure
from llm_worker.provider import failures, models
from parley.contracts.rpc import ContextMessage

if TYPE_CHECKING:
    import aiohttp
    import httpx2
    import openai
    from openai._response import AsyncAPIResponse

log = logging.getLogger(__name__)

_OPENAI: Final = "https://api.openai.com/v1"
_NO_KEY: Final = "none"
"""Sent where no key is needed; the client insists on one."""

_WRITE_TIMEOUT: Final = 30.0
_LIST_TIMEOUT: Final = 10.0
_MOST_OF_A_LIST: Final = 16 * 1024 * 1024

_KEEPALIVE: Final = 4.0
"""Seconds that an idle connection is kept: less than the five after which common servers close one, so that a request
does not meet one that is being closed. One that is closed already is not used; no request is sent twice."""

_MOST_REDIRECTS: Final = 3
_FOLLOWED: Final = frozenset((307, 308))
"""The redirects that keep the method and the body."""

_ERROR_TIMEOUT: Final = 5.0
"""Seconds that an error's body may take; the status alone says most."""

_MOST_OF_AN_ERROR: Final = 64 * 1024
_REMEMBERED: Final = 1000


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
        # Models whose server refuses stream_options and answered without. In order of their use, to forget the oldest.
        self._without_usage: OrderedDict[str, None] = OrderedDict()

    async def __aenter__(self) -> "Provider":
        await asyncio.to_thread(importlib.import_module, "openai.resources.chat.completions")
        import httpx2
        import openai

        self._client = openai.AsyncOpenAI(
            base_url=self._base_url or _OPENAI,
            api_key=self._api_key or _NO_KEY,
            max_retries=0,
            # Silence is the generation's to notice: before the first token and between two it means different things.
            timeout=httpx2.Timeout(
                None, connect=self._connect_timeout, write=_WRITE_TIMEOUT, pool=2 * self._connect_timeout
            ),
            # A compressed stream would be held back until a block is full.
            default_headers={"Accept-Encoding": "identity"},
            # Also reads HTTPS_PROXY and its kin.
            http_client=openai.DefaultAioHttpClient(
                limits=httpx2.Limits(max_connections=self._connections, keepalive_expiry=_KEEPALIVE),
                max_redirects=_MOST_REDIRECTS,
                event_hooks={"response": [_check]},
            ),
        )
        # The client imports more when these are first looked at: the first answer would wait, and all others with it.
        await asyncio.to_thread(lambda: (self._client.chat.completions, self._client.models))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    @contextlib.asynccontextmanager
    async def answering(self, model: str, messages: Sequence[ContextMessage]) -> AsyncIterator[AsyncIterator[bytes]]:
        """Ask for an answer; within ``async with``, iterate over what each read of it held. Leaving closes the
        connection.

        Raises:
            ProviderFailure: on entering, and from the iteration.
        """
        self._require_key()
        with _translated(model):
            async with contextlib.AsyncExitStack() as stack:
                yield _reads((await self._request(stack, model, messages)).http_response)

    async def list_models(self) -> list[str] | None:
        """Return the names of the models that the provider lists, in its order; None when it has no such list.

        Raises:
            ProviderFailure
        """
        self._require_key()
        body = bytearray()
        try:
            with _translated(""):
                async with (
                    asyncio.timeout(_LIST_TIMEOUT),
                    self._client.models.with_streaming_response.list() as response,
                ):
                    async for read in response.http_response.aiter_bytes():
                        body += read
                        if len(body) > _MOST_OF_A_LIST:
                            break
        except TimeoutError as error:
            raise failures.unreachable(f"no list of models within {_LIST_TIMEOUT:g} s") from error
        except ProviderFailure as failure:
            if failure.status in models.NO_LIST:
                return None
            raise
        return models.names(bytes(body))

    async def _request(
        self, stack: contextlib.AsyncExitStack, model: str, messages: Sequence[ContextMessage]
    ) -> "AsyncAPIResponse[Any]":
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
        if model in self._without_usage:
            self._without_usage.move_to_end(model)
            response: AsyncAPIResponse[Any] = await stack.enter_async_context(create(**body))
            return response
        try:
            response = await stack.enter_async_context(create(**body, stream_options={"include_usage": True}))
            return response  # noqa: RET504
        except _ErrorStatus as error:
            if error.status not in (400, 422) or b"stream_options" not in error.body:
                raise
        response = await stack.enter_async_context(create(**body))
        log.info("The provider does not know stream_options for %r: its usage is estimated", model[:100])
        self._without_usage[model] = None
        if len(self._without_usage) > _REMEMBERED:
            self._without_usage.popitem(last=False)
        return response

    def _require_key(self) -> None:
        if self._api_key is None and self._base_url is None:
            raise failures.no_key()


def _reads(response: "httpx2.Response") -> AsyncIterator[bytes]:
    """What each read of a body held."""
    if "content-encoding" in response.headers:
        return response.aiter_bytes()
    # aiohttp's own reader: the generators between it and us cost 14 µs a read (docs/decisions/0013).
    body: Any = response.stream
    reader: aiohttp.StreamReader = body._stream._aiohttp_response.content
    return aiter(reader.iter_any())


class _ErrorStatus(Exception):
    """The provider answered with a status that is no success."""

    def __init__(self, response: "httpx2.Response", body: bytes) -> None:
        super().__init__(f"status {response.status_code}")
        self.status = response.status_code
        self.headers = response.headers
        self.body = body


async def _check(response: "httpx2.Response") -> None:
    """Raise what is wrong with a response, before the client reads on: it has no limit for an error's body, and would
    follow a redirect to anywhere, with the conversation.

    Raises:
        _ErrorStatus
        ProviderFailure: a redirect that is not followed.
    """
    if response.is_success:
        return
    if response.is_redirect:
        if response.status_code not in _FOLLOWED or not _stays_within_its_origin(response):
            raise failures.moved(response.headers.get("location", ""))
        try:
            async with asyncio.timeout(_ERROR_TIMEOUT):
                await response.aread()
        except TimeoutError as error:
            raise failures.cut_off("the body of a redirect does not end") from error
        return
    raise _ErrorStatus(response, await _error_body(response))


def _stays_within_its_origin(response: "httpx2.Response") -> bool:
    import httpx2

    try:
        there = response.url.join(response.headers["location"])
    except httpx2.InvalidURL:
        return False
    here = response.url
    return (there.scheme, there.host, there.port) == (here.scheme, here.host, here.port)


async def _error_body(response: "httpx2.Response") -> bytes:
    """The body of an error, as far as it comes in time."""
    import httpx2

    body = bytearray()
    with contextlib.suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(_ERROR_TIMEOUT):
            async for read in response.aiter_bytes():
                body += read
                if len(body) >= _MOST_OF_AN_ERROR:
                    break
    return bytes(body[:_MOST_OF_AN_ERROR])


@contextlib.contextmanager
def _translated(model: str) -> Iterator[None]:
    """Turn the exceptions of the client and of its transport into failures of ours."""
    import aiohttp
    import httpx2
    import openai

    try:
        yield
    except _ErrorStatus as error:
        raise failures.from_status(error.status, error.body, error.headers, model=model) from error
    except openai.APIConnectionError as error:
        cause = error.__cause__ or error
        if isinstance(cause, httpx2.TooManyRedirects):
            raise failures.moved("itself") from error
        raise failures.unreachable(repr(cause)) from error
    except openai.OpenAIError as error:
        raise failures.internal(repr(error)) from error
    except (httpx2.HTTPError, aiohttp.ClientError) as error:
        raise failures.cut_off(repr(error)) from error
