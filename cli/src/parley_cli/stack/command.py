"""``parley up``, ``parley migrate``."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from parley.runtime.log_writer import LogWriter
from parley.runtime.tasks import end
from parley_cli.embedded.errors import EmbeddedError, UnusableFolder
from parley_cli.stack import options as stack_options
from parley_cli.stack.errors import StackError
from parley_cli.stack.log import CombinedLog
from parley_cli.stack.migration import run_migration
from parley_cli.stack.options import StackOptions
from parley_cli.stack.stack import Stack


def up(*, folder: Path, host: str, port: int, push_port: int, replicas: Mapping[str, int]) -> int:
    """Run a stack until a signal; return the exit code."""
    options = StackOptions(
        folder=folder.absolute(),
        host=host,
        port=port,
        push_port=push_port,
        replicas=replicas,
        inherited=os.environ,
        web_dist=web_dist(),
    )
    try:
        return asyncio.run(_run(options))
    except (StackError, EmbeddedError) as error:
        print(f"parley: {error}", file=sys.stderr)
    except OSError as error:
        print(f"parley: {UnusableFolder(options.folder, error)}", file=sys.stderr)
    return 1


async def _run(options: StackOptions) -> int:
    started = time.monotonic()
    writer = LogWriter(sys.stdout.fileno())
    atexit.register(writer.close)
    log = CombinedLog(writer, colour=False if os.environ.get("NO_COLOR") else None)
    stack = Stack(options, log)
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            log.line("parley", "stopping at once")
            stack.kill()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    starting = asyncio.create_task(stack.__aenter__())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        log.line("parley", "stopping before it was ready")
        await end(starting)
        return 130
    try:
        await starting
    except BaseException:
        stopping.cancel()
        raise
    log.announce(f"Parley is ready in {time.monotonic() - started:.1f} s: {stack.url}{_model_note(options)}")
    await stopping
    log.line("parley", "stopping; press Ctrl-C again to stop at once")
    await stack.stop()
    log.line("parley", "stopped")
    return 0


def _model_note(options: StackOptions) -> str:
    match options.model_server:
        case stack_options.DEMO_MODEL:
            return (
                "\nThe demo model answers. MODEL=smollm2 runs a small real one on this machine; "
                "OPENAI_API_KEY or OPENAI_BASE_URL name a provider."
            )
        case stack_options.LOCAL_MODEL:
            return "\nSmolLM2-135M answers, on this machine. It is very small: expect mistakes."
        case _:
            return ""


def migrate() -> int:
    """Migrate the servers that ``DATABASE_URL`` and ``NATS_URL`` name; return the exit code."""
    return run_migration(os.environ)


def web_dist() -> Path | None:
    """Return the folder of the built page: ``WEB_DIST``, else that of this working copy."""
    if named := os.environ.get("WEB_DIST"):
        return Path(named).absolute()
    built = Path(__file__).resolve().parents[4] / "web" / "dist"
    return built if built.is_dir() else None
