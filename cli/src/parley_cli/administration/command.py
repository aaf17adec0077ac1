"""Runs an action of an operator: requests to chat-store over NATS, as the user ``operator``."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

from nats.aio.client import Client

from parley.contracts.access.audit import OPERATOR
from parley.contracts.requests import Request
from parley.runtime.nats.errors import BusUnavailable, NoResponder, RpcRefused
from parley.runtime.nats.requests import ask
from parley_cli.actions import Output, find_nats, print_all
from parley_cli.deadline import DeadlinePassed, within
from parley_cli.servers import ServerUnusable, nats_client

R = TypeVar("R")

ACTOR: Final = OPERATOR
_REQUEST_TIMEOUT: Final = 10.0


class Store:
    """Sends requests to chat-store."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc

    async def ask(self, request: Request[R]) -> R:
        """Send a request and return its reply. Raises: RpcRefused, BusUnavailable."""
        return await ask(self._nc, request, timeout=_REQUEST_TIMEOUT)


Action = Callable[[Store], AsyncIterator[Output]]


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
        print("parley: No chat-store answers. Start one, or see `parley doctor`.", file=sys.stderr)
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
