"""Requests to chat-store over NATS, as the user ``operator``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

import msgspec
from nats.aio.client import Client

from parley.contracts.requests import Request
from parley.runtime.nats.errors import NoResponder
from parley.runtime.nats.requests import ask
from parley_cli import actions
from parley_cli.commands import Action

R = TypeVar("R")

_PAGE: Final = 100
_REQUEST_TIMEOUT: Final = 10.0


class Store:
    """Sends requests to chat-store."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc

    async def ask(self, request: Request[R]) -> R:
        """Send a request and return its reply. Raises: RpcRefused, BusUnavailable, ActionFailed."""
        try:
            return await ask(self._nc, request, timeout=_REQUEST_TIMEOUT)
        except NoResponder as error:
            raise actions.ActionFailed("No chat-store replies. Start one, or run `parley doctor`.") from error

    async def list(self, request: Request[Any]) -> AsyncIterator[Any]:
        """Yield the items of all pages of ``request``, which has the members ``before`` and ``limit``."""
        before: str | None = None
        while True:
            page = await self.ask(msgspec.structs.replace(request, before=before, limit=_PAGE))
            for item in page.items:
                yield item
            before = page.next
            if before is None:
                return


def run(action: Action, *, timeout: float, **options: Any) -> int:
    """Carry out an action on chat-store and return the exit code."""
    return actions.run(
        lambda nc: action(Store(nc)),
        client_name="parley-administration",
        too_late=f"Not done within {timeout:g} seconds. Allow more with --timeout SECONDS.",
        timeout=timeout,
        **options,
    )
