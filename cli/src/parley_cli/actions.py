"""Runs the actions of commands on a connection to NATS."""

from __future__ import annotations

import asyncio
import json as json_module
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable

import msgspec
import nats.errors
from nats.aio.client import Client

from parley.runtime.nats.errors import BusUnavailable, NotProvisioned, RpcRefused
from parley_cli.commands import Output
from parley_cli.deadline import DeadlinePassed, within
from parley_cli.servers import ServerUnusable, nats_client
from parley_cli.stack import state

BusAction = Callable[[Client], AsyncIterator[Output]]


class ActionFailed(Exception):
    """An action cannot be carried out; the message is for the operator."""


def run(action: BusAction, *, client_name: str, too_late: str, nats_url: str | None, timeout: float, json: bool) -> int:
    """Carry out an action and return the exit code.

    Args:
        too_late: The message when it takes longer than ``timeout`` seconds.
        nats_url: By default ``NATS_URL``, else the address of the running stack.
    """
    logging.getLogger("parley").setLevel(logging.ERROR)
    url = nats_url or os.environ.get("NATS_URL")
    if not url:
        running = state.read()
        if running is None:
            print("No stack runs here. Name the server with --nats-url or NATS_URL.", file=sys.stderr)
            return 2
        url = running.nats_url
    try:
        asyncio.run(within(timeout, _print_outputs(action, url, client_name, json)))
    except (ActionFailed, ServerUnusable, BusUnavailable, NotProvisioned, RpcRefused) as error:
        print(f"parley: {error}", file=sys.stderr)
    except DeadlinePassed:
        print(f"parley: {too_late}", file=sys.stderr)
    except (TimeoutError, nats.errors.Error) as error:
        print(f"parley: NATS stopped responding: {error!r}", file=sys.stderr)
    else:
        return 0
    return 1


async def _print_outputs(action: BusAction, url: str, client_name: str, json: bool) -> None:
    """Print each output as soon as there is one."""
    async with nats_client(url, client_name) as nc:
        async for record, text in action(nc):
            print(json_module.dumps(msgspec.to_builtins(record)) if json else text)
