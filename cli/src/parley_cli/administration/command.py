"""Runs an action of an operator: requests to chat-store over NATS, as the user ``operator``."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec
from nats.aio.client import Client

from parley.contracts.access.audit import OPERATOR
from parley.contracts.requests import Request
from parley.runtime.nats.errors import BusUnavailable, NoResponder, RpcRefused
from parley.runtime.nats.requests import ask
from parley_cli.actions import Output, find_nats, print_all
from parley_cli.deadline import DeadlinePassed, within
from parley_cli.servers import ServerUnusable, nats_client

R = TypeVar("R")
P = TypeVar("P", bound="Page")

ACTOR: Final = OPERATOR
PAGE: Final = 100
_REQUEST_TIMEOUT: Final = 10.0


class Store:
    """Sends requests to chat-store."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc

    async def ask(self, request: Request[R]) -> R:
        """Send a request and return its reply. Raises: RpcRefused, BusUnavailable."""
        return await ask(self._nc, request, timeout=_REQUEST_TIMEOUT)


Action = Callable[[Store], AsyncIterator[Output]]


class Page(Protocol):
    """A page of a list; ``next`` is where the following one begins."""

    @property
    def items(self) -> Sequence[Any]: ...
    @property
    def next(self) -> str | None: ...


def list_pages(request: Request[P], line: Callable[[Any], str]) -> Action:
    """Return the action that lists all pages from ``request`` on, which has a member ``before``."""

    async def action(store: Store) -> AsyncIterator[Output]:
        before: str | None = None
        while True:
            page = await store.ask(msgspec.structs.replace(request, before=before))
            for found in page.items:
                yield Output(found, line(found))
            before = page.next
            if before is None:
                return

    return action


def run(action: Action, *, nats_url: str | None, timeout: float, json: bool) -> int:
    """Carry out an action and return the exit code."""
    logging.getLogger("parley").setLevel(logging.ERROR)
    url = find_nats(nats_url)
    if url is None:
        return 2
    try:
        asyncio.run(within(timeout, _run(action, url, json)))
    except RpcRefused as error:
        print(f"parley: {error}", file=sys.stderr)
    except NoResponder:
        print("parley: No chat-store replies. Start one, or run `parley doctor`.", file=sys.stderr)
    except (ServerUnusable, BusUnavailable) as error:
        print(f"parley: {error}", file=sys.stderr)
    except DeadlinePassed:
        print(f"parley: Not done within {timeout:g} seconds. Allow more with --timeout SECONDS.", file=sys.stderr)
    else:
        return 0
    return 1


async def _run(action: Action, url: str, json: bool) -> None:
    async with nats_client(url, "parley-administration") as nc:
        await print_all(action(Store(nc)), json=json)
