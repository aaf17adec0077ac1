"""What the commands of an operator have in common: the server that they use, and how they print."""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec

from parley_cli.stack import state


class Output(NamedTuple):
    """One thing to print: as a JSON object, or as text for people."""

    record: Any
    text: str


def find_nats(nats_url: str | None) -> str | None:
    """Return the address of NATS: the given one, else ``NATS_URL``, else the running stack's.

    Without any, print what to do and return None.
    """
    if found := nats_url or os.environ.get("NATS_URL"):
        return found
    running = state.read()
    if running is None:
        print("No stack runs here. Name the server with --nats-url or NATS_URL.", file=sys.stderr)
        return None
    return running.nats_url


async def print_all(outputs: AsyncIterator[Output], *, json: bool) -> None:
    """Print each output as soon as there is one."""
    async for record, text in outputs:
        print(json_module.dumps(msgspec.to_builtins(record)) if json else text)
