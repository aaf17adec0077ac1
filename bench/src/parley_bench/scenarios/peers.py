"""The same answers from common architectures: delay and CPU per token, on the same machine, in the same run.

``bare``: FastAPI and the ``openai`` client, nothing stored. ``celery-channels``: Celery, Channels and Redis; a message
is saved and sent again for each chunk. It needs ``peers/celery_channels/requirements.txt`` in the Python that
``PARLEY_BENCH_PEERS_PYTHON`` names (this one by default) and ``redis-server`` on the PATH, else it is left out.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from parley_bench.meter import CpuMeter
from parley_bench.reader_process import ReaderProcess
from parley_bench.scenario import NoMeasurement, OnProgress, Sample, Size, Table, repeat, until
from parley_bench.scenarios.delay import RATE
from parley_cli import child_process
from parley_cli.embedded.guard import guarded
from parley_cli.embedded.ports import free_port, is_free
from parley_cli.embedded.postgres import PostgresServer

_PEERS = Path(__file__).resolve().parent.parent / "peers"
_BARE_COUNTS = (10, 50, 100, 200)
_CELERY_COUNTS = (2, 8)
_WARM_UP = 3.0
_START_TIMEOUT = 60.0


@dataclass(frozen=True)
class Running:
    """A peer: where it listens, and its processes by name."""

    name: str
    port: int
    pids: Mapping[str, int]


async def peers(size: Size, on_progress: OnProgress) -> Table:
    table = Table("Peers: added delay and CPU per token", on_row=size.on_row)
    async with demo_model() as (folder, model_port, model_pid):
        async with bare(folder, model_port) as peer:
            await _measure_all(peer, _BARE_COUNTS, model_pid, size, table, on_progress)
        missing = _missing()
        if missing is not None:
            table.notes.append(f"celery-channels was not measured: {missing}.")
            on_progress(table.notes[-1])
            return table
        async with _celery(folder, model_port) as peer:
            await _measure_all(peer, _CELERY_COUNTS, model_pid, size, table, on_progress)
            table.notes.append(
                "celery-channels answers as many prompts at a time as it has worker processes (by default as many as "
                "the machine has cores); the others wait. Its cost per token grows with the length of the answer: "
                f"here the first {size.window + _WARM_UP:g} s of it."
            )
    return table


async def _measure_all(
    peer: Running, counts: tuple[int, ...], model_pid: int, size: Size, table: Table, on_progress: OnProgress
) -> None:
    for count in dict.fromkeys(size.of(count) for count in counts):
        what = f"{peer.name}, {count} answers"
        table.add(what, await repeat(size, on_progress, what, partial(measure, peer, count, model_pid, size.window)))


async def measure(peer: Running, count: int, model_pid: int, window: float) -> Sample:
    # These answers cannot be stopped; the next measurement waits for their end.
    seconds = window + 2 * _WARM_UP
    async with ReaderProcess() as reader_process:
        model = f"demo-timed-{RATE}x{round(RATE * seconds)}"
        await reader_process.ask("ask_peer", peer=peer.name, port=peer.port, count=count, model=model)
        await asyncio.sleep(_WARM_UP)
        with CpuMeter({**peer.pids, "demo-model": model_pid}) as meter:
            got = await reader_process.count(window)
        sample = cost_of_tokens(peer.name, got, meter, peer.pids)
        while (await reader_process.count(_WARM_UP))["frames"]:  # until no more arrive
            pass
    return sample


def cost_of_tokens(name: str, got: Mapping[str, Any], meter: CpuMeter, path: Iterable[str]) -> Sample:
    """Return delay and CPU of what ``got`` counts; 'together' are the processes of ``path``. Raises NoMeasurement."""
    tokens = got["tokens"]
    if not tokens:
        raise NoMeasurement(f"{name} sent nothing")
    return {
        "p50": (got["p50"], "ms"),
        "p99": (got["p99"], "ms"),
        "together": (sum(meter.cpu[process] for process in path) / tokens * 1e6, "µs"),
        "model": (meter.cpu["demo-model"] / tokens * 1e6, "µs"),
        "readers": (got["cpu"] / tokens * 1e6, "µs"),
        "machine busy": (meter.busy * 100, "%"),
    }


@asynccontextmanager
async def demo_model() -> AsyncIterator[tuple[Path, int, int]]:
    """A folder, and the demo model's port and process."""
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as folder:
        port = free_port()
        command = [sys.executable, "-m", "parley_cli.demo_model", "--port", str(port)]
        async with _child(command, log=Path(folder, "model.log"), environment=os.environ, port=port) as pid:
            yield Path(folder), port, pid


@asynccontextmanager
async def bare(folder: Path, model_port: int) -> AsyncIterator[Running]:
    port = free_port()
    command = [sys.executable, str(_PEERS / "bare.py"), str(port), f"http://127.0.0.1:{model_port}/v1"]
    async with _child(command, log=folder / "bare.log", environment=os.environ, port=port) as pid:
        yield Running("bare", port, {"server": pid})


@asynccontextmanager
async def _child(
    command: list[str], *, log: Path, environment: Mapping[str, str], port: int | None = None
) -> AsyncIterator[int]:
    """Run a program, and yield its process id once it listens on ``port``.

    Raises:
        NoMeasurement: It ended, or does not listen.
    """
    async with child_process.running(guarded(command), log=log, environment=environment) as process:
        if port is not None:
            await _wait_until_listening(process, port, command, log)
        yield process.pid


async def _wait_until_listening(process: asyncio.subprocess.Process, port: int, command: list[str], log: Path) -> None:
    async def listens() -> bool:
        if process.returncode is not None:
            raise NoMeasurement(f"{command[0]} ended with {process.returncode}:\n{_last_lines(log)}")
        return not is_free(port)

    await until(listens, _START_TIMEOUT, f"{' '.join(command)} listens on port {port}")


def _last_lines(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


# --- Celery, Channels, Redis ------------------------------


def _python() -> str:
    return os.environ.get("PARLEY_BENCH_PEERS_PYTHON", sys.executable)


def _missing() -> str | None:
    """What is missing to run it; None: nothing."""
    if shutil.which("redis-server") is None:
        return "there is no redis-server on the PATH"
    found = subprocess.run(
        [_python(), "-c", "import celery, channels, channels_redis, daphne, django, openai, psycopg"],
        capture_output=True,
        check=False,
    )
    return None if found.returncode == 0 else "its packages are not installed (PARLEY_BENCH_PEERS_PYTHON)"


@asynccontextmanager
async def _celery(folder: Path, model_port: int) -> AsyncIterator[Running]:
    async with AsyncExitStack() as stack:
        redis_port, port = free_port(), free_port()
        redis = shutil.which("redis-server") or ""
        postgres = stack.enter_context(PostgresServer(folder / "postgres", password="peer"))
        database = urlsplit(postgres.url)
        environment = {
            **os.environ,
            "PYTHONPATH": str(_PEERS),
            "DJANGO_SETTINGS_MODULE": "celery_channels.settings",
            "PEER_DATABASE": database.path.strip("/"),
            "PEER_DATABASE_PORT": str(database.port),
            "PEER_DATABASE_USER": database.username or "",
            "PEER_DATABASE_PASSWORD": database.password or "",
            "PEER_REDIS": f"redis://127.0.0.1:{redis_port}/0",
            "PEER_MODEL": f"http://127.0.0.1:{model_port}/v1",
        }
        log = folder / "celery.log"
        redis_command = [redis, "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        redis_pid = await stack.enter_async_context(
            _child(redis_command, log=log, environment=environment, port=redis_port)
        )
        await _run([_python(), "-m", "django", "migrate", "--run-syncdb"], environment)
        worker_pid = await stack.enter_async_context(
            _child(
                [_python(), "-m", "celery", "-A", "celery_channels.tasks", "worker", "--loglevel", "WARNING"],
                log=log,
                environment=environment,
            )
        )
        web_pid = await stack.enter_async_context(
            _child(
                [_python(), "-m", "daphne", "-p", str(port), "celery_channels.asgi:application"],
                log=log,
                environment=environment,
                port=port,
            )
        )
        yield Running("celery-channels", port, {"worker": worker_pid, "redis": redis_pid, "web": web_pid})


async def _run(command: list[str], environment: Mapping[str, str]) -> None:
    process = await child_process.start_async(command, output=subprocess.PIPE, environment=environment)
    output, _ = await process.communicate()
    if process.returncode:
        raise NoMeasurement(f"{' '.join(command)}: {output.decode(errors='replace')[-2000:]}")
