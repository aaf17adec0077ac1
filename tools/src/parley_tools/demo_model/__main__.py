"""``python -m parley_tools.demo_model --port 8002``"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal

from parley_tools.demo_model.app import DemoModel


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="parley demo-model", description="An OpenAI-compatible server for trying out."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8002)
    options = parser.parse_args(arguments)
    api_key = os.environ.get("DEMO_MODEL_API_KEY") or None

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with DemoModel(options.host, options.port, api_key=api_key) as model:
            print(f"demo model listening on {model.url}", flush=True)
            await stop.wait()

    try:
        import uvloop
    except ImportError:
        asyncio.run(serve())
    else:
        uvloop.run(serve())


if __name__ == "__main__":
    main()
