"""``parley demo-model``."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys

import uvloop

from parley_cli.arguments import port_number
from parley_cli.demo_model.app import DemoModel
from parley_cli.embedded.errors import CannotListen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=port_number, default=8002, help="default 8002; 0: any free one")


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; return the exit code. Clients need ``DEMO_MODEL_API_KEY`` when it is set."""
    api_key = os.environ.get("DEMO_MODEL_API_KEY") or None

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with DemoModel(arguments.host, arguments.port, api_key=api_key) as model:
            print(f"listening on {model.url}", flush=True)
            await stop.wait()

    try:
        uvloop.run(serve())
    except CannotListen as error:
        print(f"parley: {error}", file=sys.stderr)
        return 1
    return 0
