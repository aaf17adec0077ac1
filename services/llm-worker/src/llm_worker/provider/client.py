"""The client of any OpenAI-compatible API: the ``openai`` client over its aiohttp transport.

The client sends requests. Errors are mapped and streams are decoded here, because the client's stream objects cost a
hundred microseconds a token (``docs/decisions/0013``). Its own retries are off: the generation decides on retries.
"""

import asyncio
import contextlib
import importlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from llm_worker.errors import ProviderError
from llm_worker.provider import error_mapping, error_templates, models
from llm_worker.provider.messages import RequestShape

if TYPE_CHECKING:
    import httpx2
    import openai
    from openai._response import AsyncAPIResponse

log = logging.getLogger(__name__)

_OPENAI: Final = "https://api.openai.com/v1"
_NO_KEY: Final = "none"
"""Sent where no key is needed; the client requires one."""

_WRITE_TIMEOUT: Final = 30.0
_LIST_TIMEOUT: Final = 10.0
_MAX_LIST_BYTES: Final = 16 * 1024 * 1024

_KEEPALIVE: Final = 4.0
"""Seconds that an idle connection stays open: less than the five after which common servers close one, so that no
request is sent on a connection that is being closed. No request is sent twice."""

_MAX_REDIRECTS: Final = 3
_REDIRECT_STATUSES: Final = frozenset((307, 308))
"""The redirects that keep the method and the body."""

_ERROR_TIMEOUT: Final = 5.0
"""Seconds that an error's body may take; the status alone is enough."""

_MAX_ERROR_BYTES: Final = 64 * 1024
_MAX_REMEMBERED: Final = 1000


class Provider:
    """The client of one API. ``async with`` imports the client library (it takes a second) and closes its connections.

    Args:
        base_url: OpenAI's own when None.
        api_key: None where none is needed.
        connections: The most at once.
    """

    def __init__(self, *, base_url: str | None, api_key: str | None, connections: int, connect_timeout: float) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._connections = connections
        self._connect_timeout = connect_timeout
        self._client: openai.AsyncOpenAI
        # Of models whose server refuses the documented shape, the least recently used first.
        self._shapes: OrderedDict[str, RequestShape] = OrderedDict()

    async def __aenter__(self) -> "Provider":
        await asyncio.to_thread(importlib.import_module, "openai.resources.chat.completions")
        import httpx2
        import openai

        self._client = openai.AsyncOpenAI(
            base_url=self._base_url or _OPENAI,
            api_key=self._api_key or _NO_KEY,
            max_retries=0,
            # No read timeout: the generation's idle timeout differs before the first token and after it.
            timeout=httpx2.Timeout(
                None, connect=self._connect_timeout, write=_WRITE_TIMEOUT, pool=2 * self._connect_timeout
            ),
            # A compressed stream arrives in blocks and not token by token.
            default_headers={"Accept-Encoding": "identity"},
            # Also reads HTTPS_PROXY and the other proxy variables.
            http_client=openai.DefaultAioHttpClient(
                limits=httpx2.Limits(max_connections=self._connections, keepalive_expiry=_KEEPALIVE),
                max_redirects=_MAX_REDIRECTS,
                event_hooks={"response": [_check_response]},
            ),
        )
        # The first access to these imports more, which would block the event loop during the first answer.
        await asyncio.to_thread(lambda: (self._client.chat.completions, self._client.models))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    @contextlib.asynccontextmanager
    async def stream(self, model: str, members: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[bytes]]:
        """Request a completion and yield an iterator over its reads from the socket. Leaving closes the connection.

        Args:
            members: Of the request, in addition to the model and what streaming needs: ``messages``, parameters.

        Raises:
            ProviderError: on entering, and from the iteration.
        """
        self._require_key()
        with _mapped_errors(model):
            async with contextlib.AsyncExitStack() as stack:
                response = (await self._request(stack, model, members)).http_response
                # The body as the transport reads it, one item a read; aiter_bytes() costs more (docs/decisions/0013).
                body: Any = response.aiter_bytes() if "content-encoding" in response.headers else response.stream
                yield await stack.enter_async_context(contextlib.aclosing(aiter(body)))

    async def list_models(self) -> list[str] | None:
        """Return the names of the models in the provider's order; None when it has no list.

        Raises:
            ProviderError
        """
        self._require_key()
        body = bytearray()
        try:
            with _mapped_errors(""):
                async with (
                    asyncio.timeout(_LIST_TIMEOUT),
                    self._client.models.with_streaming_response.list() as response,
                ):
                    async for read in response.http_response.aiter_bytes():
                        body += read
                        if len(body) > _MAX_LIST_BYTES:
                            break
        except TimeoutError as error:
            raise error_templates.UNREACHABLE.error(f"no list of models within {_LIST_TIMEOUT:g} s") from error
        except ProviderError as error:
            if error.status in models.NO_LIST:
                return None
            raise
        return models.parse_names(bytes(body))

    async def _request(
        self, stack: contextlib.AsyncExitStack, model: str, members: Mapping[str, Any]
    ) -> "AsyncAPIResponse[Any]":
        create: Any = self._client.chat.completions.with_streaming_response.create
        shape = known = self._shapes.get(model, RequestShape())
        tried = {shape}
        while True:
            # As extra_body: the client would validate each message against its types, 0.2 ms each, and block the event
            # loop for a long chat.
            request = create(model=model, messages=[], stream=True, extra_body=shape.apply(members))
            try:
                response: AsyncAPIResponse[Any] = await stack.enter_async_context(request)
                break
            except _ErrorStatus as error:
                shape = shape.instead(error.status, error.body)
                if shape in tried:
                    raise
                tried.add(shape)
        if shape != known:
            log.info("The provider accepts requests for %r only as %s", model[:100], shape)
        if shape != RequestShape():
            self._shapes[model] = shape
            self._shapes.move_to_end(model)
            if len(self._shapes) > _MAX_REMEMBERED:
                self._shapes.popitem(last=False)
        else:
            self._shapes.pop(model, None)
        return response

    def _require_key(self) -> None:
        if self._api_key is None and self._base_url is None:
            raise error_templates.NO_KEY.error()


class _ErrorStatus(Exception):
    """The provider responded with an error status."""

    def __init__(self, response: "httpx2.Response", body: bytes) -> None:
        super().__init__(f"status {response.status_code}")
        self.status = response.status_code
        self.headers = response.headers
        self.body = body


async def _check_response(response: "httpx2.Response") -> None:
    """Raise an error before the client handles the response: it does not limit the size of an error's body, and would
    follow a redirect to any server, with the conversation.

    Raises:
        _ErrorStatus
        ProviderError: a redirect that is not followed.
    """
    if response.is_success:
        return
    if response.is_redirect:
        if response.status_code not in _REDIRECT_STATUSES or not _is_same_origin(response):
            raise error_templates.REDIRECTED.error(f"redirected to {response.headers.get('location', '')[:200]}")
        try:
            async with asyncio.timeout(_ERROR_TIMEOUT):
                await response.aread()
        except TimeoutError as error:
            raise error_templates.CONNECTION_LOST.error("the body of a redirect does not end") from error
        return
    raise _ErrorStatus(response, await _error_body(response))


def _is_same_origin(response: "httpx2.Response") -> bool:
    import httpx2

    try:
        target = response.url.join(response.headers["location"])
    except httpx2.InvalidURL:
        return False
    source = response.url
    return (target.scheme, target.host, target.port) == (source.scheme, source.host, source.port)


async def _error_body(response: "httpx2.Response") -> bytes:
    """The beginning of an error's body that arrives in time."""
    import httpx2

    body = bytearray()
    with contextlib.suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(_ERROR_TIMEOUT):
            async for read in response.aiter_bytes():
                body += read
                if len(body) >= _MAX_ERROR_BYTES:
                    break
    return bytes(body[:_MAX_ERROR_BYTES])


@contextlib.contextmanager
def _mapped_errors(model: str) -> Iterator[None]:
    """Map the exceptions of the client and of its transport to :class:`ProviderError`."""
    import aiohttp
    import httpx2
    import openai

    try:
        yield
    except _ErrorStatus as error:
        raise error_mapping.from_status(error.status, error.body, error.headers, model=model) from error
    except openai.APIConnectionError as error:
        cause = error.__cause__ or error
        if isinstance(cause, httpx2.TooManyRedirects):
            raise error_templates.REDIRECTED.error("redirected in a circle") from error
        raise error_templates.UNREACHABLE.error(repr(cause)) from error
    except openai.OpenAIError as error:
        raise error_templates.INTERNAL.error(repr(error)) from error
    except (httpx2.HTTPError, aiohttp.ClientError) as error:
        raise error_templates.CONNECTION_LOST.error(repr(error)) from error
