"""``parley up``, ``parley migrate``."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from parley.runtime.log_writer import LogWriter
from parley.runtime.tasks import end
from parley_cli.embedded.errors import EmbeddedError, UnusableFolder
from parley_cli.stack import options as stack_options
from parley_cli.stack.errors import StackError
from parley_cli.stack.log import CombinedLog
from parley_cli.stack.options import StackOptions
from parley_cli.stack.stack import Stack

Alongside: TypeAlias = Callable[[Stack, CombinedLog], Coroutine[None, None, None]]


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
        return asyncio.run(run_stack(options))
    except (StackError, EmbeddedError) as error:
        print(f"parley: {error}", file=sys.stderr)
    except OSError as error:
        print(f"parley: {UnusableFolder(options.folder, error)}", file=sys.stderr)
    return 1


async def run_stack(options: StackOptions, alongside: Alongside | None = None) -> int:
    """Run a stack, and ``alongside`` once it is ready, until a signal; return the exit code."""
    started = time.monotonic()
    writer = LogWriter(sys.stdout.fileno())
    atexit.register(writer.close)
    log = CombinedLog(writer, colour=False if os.environ.get("NO_COLOR") else None)
    stack: Stack | None = None
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set() and stack is not None:
            log.line("parley", "stopping at once")
            stack.kill()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    stopping = asyncio.create_task(stop.wait())
    with _start_progress(options, log, writer) as on_step:
        stack = Stack(options, log, on_step=on_step)
        starting = asyncio.create_task(stack.__aenter__())
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
    waiting: set[asyncio.Task[Any]] = {stopping}
    if alongside is not None:
        waiting.add(asyncio.create_task(alongside(stack, log)))
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    log.line("parley", "stopping; press Ctrl-C again to stop at once")
    await end(*pending)
    await stack.stop()
    log.line("parley", "stopped")
    for task in done:
        task.result()  # raises what `alongside` raised
    return 0


@contextmanager
def _start_progress(options: StackOptions, log: CombinedLog, writer: LogWriter) -> Iterator[Callable[[str], None]]:
    """Show the steps of the first start, which creates the databases, in a progress bar below the log."""
    if (options.folder / "secrets.json").exists() or not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield lambda step: None
        return
    from parley_cli import output  # only here: the progress bar takes 0.04 s of CPU to import

    with output.progress("First start") as update:
        log.redirect(sys.stdout)  # which is now the bar's, so that lines appear above it
        try:
            yield update
        finally:
            log.redirect(writer)


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


def web_dist() -> Path | None:
    """Return the folder of the built page: ``WEB_DIST``, else that of this working copy."""
    if named := os.environ.get("WEB_DIST"):
        return Path(named).absolute()
    built = Path(__file__).resolve().parents[4] / "web" / "dist"
    return built if built.is_dir() else None
