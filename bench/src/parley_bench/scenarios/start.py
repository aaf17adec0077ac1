"""``parley up``, until the page answers: with nothing there yet, and the second time."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from parley_bench.scenario import NoMeasurement, OnProgress, Sample, Size, Table, repeat, until
from parley_cli import child_process
from parley_cli.embedded.guard import guarded
from parley_cli.embedded.ports import free_port
from parley_cli.stack import probe

_DEADLINE = 90.0


async def start(size: Size, on_progress: OnProgress) -> Table:
    table = Table("From `parley up` to a page that answers")
    samples = await repeat(size, on_progress, "start", _measure)
    table.add("everything embedded, one process of each service", samples)
    return table


async def _measure() -> Sample:
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as folder:
        first, _ = await _start(Path(folder))
        second, stopped = await _start(Path(folder))
    return {"first start": (first, "s"), "second start": (second, "s"), "stop": (stopped, "s")}


async def _start(folder: Path) -> tuple[float, float]:
    """Seconds until the page answers, and seconds to end."""
    port = free_port()
    ports = ["--port", str(port), "--push-port", str(free_port())]
    began = time.monotonic()
    process = await child_process.start_async(
        guarded([sys.executable, "-m", "parley_cli.main", "up", *ports, "--data", str(folder / "data")]),
        output=subprocess.DEVNULL,
        environment=child_process.base_environment(),
    )

    async def answers() -> bool:
        if process.returncode is not None:
            raise NoMeasurement(f"parley up ended with {process.returncode}")
        return await probe.is_ok(port, "/readyz") and await probe.is_ok(port, "/")

    try:
        await until(answers, _DEADLINE, "the page answers", every=0.01)
        took = time.monotonic() - began
    finally:
        ending = time.monotonic()
        child_process.send_signal(process, signal.SIGTERM)
        await process.wait()
    return took, time.monotonic() - ending
