"""``parley up``, until the page answers: with nothing there yet, and the second time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from parley_bench.scenario import NoMeasurement, Size, Table, Tell, brief, until
from parley_cli import signals
from parley_cli.embedded.guard import guarded
from parley_cli.embedded.ports import free_port
from parley_cli.stack import probe

_DEADLINE = 90.0
_UNITS = {"first start": "s", "second start": "s", "stop": "s"}
_NOT_OURS = ("NATS_URL", "DATABASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL")


async def start(size: Size, tell: Tell) -> Table:
    """Measure."""
    table = Table("From `parley up` to a page that answers")
    samples = []
    for repeat in range(size.repeats):
        with tempfile.TemporaryDirectory(prefix="parley-bench-") as folder:
            first, _ = await _start(Path(folder))
            second, stopped = await _start(Path(folder))
        samples.append({"first start": first, "second start": second, "stop": stopped})
        tell(f"start, {repeat + 1} of {size.repeats}: {brief(samples[-1])}")
    table.add("everything embedded, one process of each service", _UNITS, samples)
    return table


async def _start(folder: Path) -> tuple[float, float]:
    """Seconds until the page answers, and seconds to end."""
    port = free_port()
    ports = ["--port", str(port), "--push-port", str(free_port())]
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *guarded([sys.executable, "-m", "parley_cli.main", "up", *ports, "--data", str(folder / "data")]),
        env={name: value for name, value in os.environ.items() if name not in _NOT_OURS},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )

    async def answers() -> bool:
        if process.returncode is not None:
            raise NoMeasurement(f"parley up ended with {process.returncode}")
        return (await probe.get(port, "/readyz"))[0] == 200 and (await probe.get(port, "/"))[0] == 200

    try:
        await until(answers, _DEADLINE, "the page answers", every=0.01)
        took = time.monotonic() - began
    finally:
        ending = time.monotonic()
        signals.send(process, signal.SIGTERM)
        await process.wait()
    return took, time.monotonic() - ending
