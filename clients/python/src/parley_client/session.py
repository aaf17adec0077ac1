"""Sessions at the gateway, and the requests that they authenticate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

import httpx
import msgspec

from parley_client.backoff import Backoff
from parley_client.errors import NotParley, NotReachable, Problem, SignedOut

T = TypeVar("T")

_TIMEOUT = 15.0
_DEADLINE = 60.0
_RENEWAL_MARGIN = 60.0
"""Seconds before its expiry from which an access token is renewed."""
_RENEWAL_INTERVAL = 60.0
"""Seconds between two renewals at least, whatever the clocks show."""
_MAX_RENEWAL_INTERVAL = 86_400.0
_UNKNOWN_LIFE = 300.0
"""Seconds after which a token that was given, whose expiry is not known, is renewed."""


class Session(msgspec.Struct, frozen=True):
    user_id: str
    access_token: str
    expires_at: datetime


class _ProblemBody(msgspec.Struct, frozen=True):
    title: str = ""
    detail: str = ""
    code: str = ""


class GatewaySession:
    """A user's authenticated requests to the gateway. An asynchronous context manager.

    A session's access token is renewed before it expires, with the session's cookie or, without one, with the token
    itself. When the session or API key has ended, each request raises SignedOut.

    Every request that is safe to repeat is repeated, with backoff, while the gateway cannot be reached or responds that
    it cannot accept anything now (503).
    """

    def __init__(
        self,
        url: str,
        *,
        access_token: str | None = None,
        cookies: Mapping[str, str] | None = None,
        api_key: str | None = None,
        deadline: float = _DEADLINE,
    ) -> None:
        """Describe the connection. Without a token, cookies or a key, the first request begins a session as a guest.

        Args:
            url: The gateway's, such as ``http://127.0.0.1:8000``.
            access_token: Of a session; valid for ten minutes, and renewed here.
            cookies: Of an earlier session, from the attribute ``cookies`` of its client.
            api_key: Used instead of a session.
            deadline: Seconds for which a request is repeated.

        Raises:
            NotParley: ``url`` cannot be a gateway's.
        """
        self.url = url.rstrip("/")
        if not _is_url(self.url):
            raise NotParley(url)
        self.access_token = access_token
        self.user_id: str | None = None
        self.cookies = dict(cookies or {})
        self._api_key = api_key
        self._signed_out: SignedOut | None = None
        self._renew_at = time.monotonic() + _UNKNOWN_LIFE
        self._deadline = deadline
        self._http = httpx.AsyncClient(base_url=self.url, timeout=_TIMEOUT)
        self._beginning = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def begin_session(self) -> Session:
        """Begin a session, or renew the present one.

        Raises:
            SignedOut: the session was revoked or has ended.
        """
        if self._api_key is not None:
            raise ValueError("an API key is used without a session")
        headers = self._cookie_headers if self.cookies else self.headers
        session = await self._ask("POST", "/v1/session", Session, json={}, headers=headers)
        self.cookies |= {cookie.name: cookie.value or "" for cookie in self._http.cookies.jar}
        # Sent to renew the session, and with no other request.
        self._http.cookies.clear()
        self.access_token = session.access_token
        self.user_id = session.user_id
        self._signed_out = None
        life = (session.expires_at - datetime.now(UTC)).total_seconds()
        self._renew_at = time.monotonic() + min(max(life - _RENEWAL_MARGIN, _RENEWAL_INTERVAL), _MAX_RENEWAL_INTERVAL)
        return session

    def forget_session(self) -> None:
        """Use the present session no more: the next request begins one as a guest."""
        self.access_token = self.user_id = self._signed_out = None
        self.cookies.clear()

    @property
    def headers(self) -> dict[str, str]:
        """What authenticates a request."""
        secret = self._api_key or self.access_token
        return {"Authorization": f"Bearer {secret}"} if secret else {}

    @property
    def _cookie_headers(self) -> dict[str, str]:
        url = httpx.URL(self.url)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        # The gateway compares the origin of a request that a cookie authenticates.
        return {"Cookie": cookie, "Origin": f"{url.scheme}://{url.netloc.decode()}"}

    async def ensure_session(self) -> None:
        """Begin a session as a guest unless there is one, and renew it when that is due.

        Raises:
            SignedOut: the session or API key was revoked or has ended.
        """
        if self._signed_out is not None:
            raise self._signed_out
        if self._api_key is None and self._renewal_is_due:
            async with self._beginning:
                if self._renewal_is_due:
                    await self.begin_session()

    @property
    def _renewal_is_due(self) -> bool:
        return self.access_token is None or time.monotonic() >= self._renew_at

    async def _renew(self, used: str | None, refused: Problem) -> None:
        """Renew the session after a request with the token ``used`` was answered 401.

        Raises:
            SignedOut: it cannot be renewed.
        """
        if self._api_key is not None:
            self._signed_out = SignedOut(refused.status, refused.code, refused.detail)
            raise self._signed_out from refused
        async with self._beginning:
            if self.access_token == used:
                await self.begin_session()

    async def request(
        self,
        method: str,
        path: str,
        reply: type[T] | None,
        *,
        session: bool = True,
        retry: bool = True,
        **arguments: Any,
    ) -> T:
        """Make a request, and repeat it until it is answered.

        Args:
            reply: The type of the body; None: it is not read.
            session: Begin a session first, unless there is one.
            retry: Whether the request is safe to repeat.
            arguments: Of ``httpx``: ``json``, ``params``.

        Raises:
            Problem: it is refused.
            NotReachable: there is no answer before the deadline.
        """
        if session:
            await self.ensure_session()
        return await self._ask(method, path, reply, retry=retry, **arguments)

    async def read_lines(self, path: str, on_line: Callable[[bytes], None], **headers: str) -> None:
        """Read the response line by line until it ends. Raises Problem or httpx.TransportError."""
        used = self.access_token
        try:
            await self._read_lines(path, on_line, headers)
        except Problem as problem:
            if problem.status != 401:
                raise
            await self._renew(used, problem)
            await self._read_lines(path, on_line, headers)

    async def _read_lines(self, path: str, on_line: Callable[[bytes], None], headers: dict[str, str]) -> None:
        # The server sends a comment every 15 s; after a longer silence the connection is dead.
        timeout = httpx.Timeout(_TIMEOUT, read=60.0)
        async with self._http.stream("GET", path, headers=self.headers | headers, timeout=timeout) as response:
            if response.status_code != 200:
                await response.aread()
                raise _problem(response)
            # Not httpx's lines: those also end at characters that JSON may hold, such as U+2028.
            rest = b""
            async for piece in response.aiter_bytes():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    on_line(line.removesuffix(b"\r"))

    async def _ask(
        self,
        method: str,
        path: str,
        reply: type[T] | None,
        *,
        retry: bool = True,
        headers: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> T:
        """Make a request with ``headers``, by default those that authenticate it, until it is answered."""
        end = time.monotonic() + self._deadline
        renewed = False
        backoff = Backoff(base=0.2, cap=3.0)
        while True:
            wait: float
            failure: Exception
            try:
                used = self.access_token
                response = await self._http.request(method, path, headers=headers or self.headers, **arguments)
                if response.is_success:
                    return self._read(response, reply)
                problem = _problem(response)
                if problem.status == 401 and path == "/v1/session":
                    self._signed_out = SignedOut(problem.status, problem.code, problem.detail)
                    raise self._signed_out
                if problem.status == 401 and not renewed:
                    renewed = True
                    await self._renew(used, problem)
                    continue
                if not problem.transient:
                    raise problem
                failure, wait = problem, problem.retry_after or backoff.next()
            except httpx.TransportError as error:
                failure, wait = error, backoff.next()
            if not retry or time.monotonic() + wait > end:
                reason = str(failure) or type(failure).__name__
                raise NotReachable(f"Parley at {self.url} does not answer {method} {path}: {reason}") from failure
            await asyncio.sleep(wait)

    def _read(self, response: httpx.Response, reply: type[T] | None) -> T:
        try:
            # mypy cannot infer that T is None without a reply type.
            return None if reply is None else msgspec.json.decode(response.content, type=reply)  # type: ignore[return-value]
        except msgspec.DecodeError as error:
            raise NotParley(self.url) from error


def _problem(response: httpx.Response) -> Problem:
    try:
        body = msgspec.json.decode(response.content, type=_ProblemBody)
    except msgspec.DecodeError:
        body = _ProblemBody(title=response.reason_phrase)
    after = response.headers.get("retry-after", "")
    return Problem(
        response.status_code,
        body.code or "unknown",
        body.detail or body.title,
        float(after) if after.isdigit() else None,
    )


def _is_url(text: str) -> bool:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in ("http", "https") and bool(url.host)
