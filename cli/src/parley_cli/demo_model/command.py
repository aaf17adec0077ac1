"""``parley demo-model``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop

from parley_cli.demo_model.app import DemoModel
from parley_cli.embedded.errors import CannotListen


def serve(host: str, port: int) -> int:
    """Serve until a signal; return the exit code. Clients need ``DEMO_MODEL_API_KEY`` when it is set."""
    api_key = os.environ.get("DEMO_MODEL_API_KEY") or None

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with DemoModel(host, port, api_key=api_key) as model:
            print(f"listening on {model.url}", flush=True)
            await stop.wait()

    try:
        uvloop.run(run())
    except CannotListen as error:
        print(f"parley: {error}", file=sys.stderr)
        return 1
    return 0
