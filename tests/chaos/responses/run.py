"""One run: a stack, clients that read responses, and kills; then all that is stored."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from openai import AsyncOpenAI

from parley_cli.child_process import base_environment
from parley_cli.stack.log import CombinedLog
from parley_cli.stack.options import StackOptions
from parley_cli.stack.stack import Stack
from parley_client import ParleyClient
from tests.chaos.fault_injector import FaultInjector
from tests.chaos.plan import SERVICES, FaultKind, PlannedFault
from tests.chaos.responses.check import Findings, check
from tests.chaos.responses.reader import Reading, ResponseReader
from tests.chaos.run import LOG
from tests.chaos.stored import Database

PARTS = (*SERVICES, "nats-server", "postgres")

_MODELS = ("demo-rate-40x160", "demo-rate-25x150", "demo-rate-100x300", "demo-reasoning", "demo-fast")
_READING_TIMEOUT = 150.0
"""How long the clients may take after the last kill."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of a run.

    Attributes:
        seconds: For how long parts are killed, and responses asked for.
        every: Seconds between two kills, on average.
        drop_every: Seconds after which a client drops its connection, on average.
    """

    seconds: float
    responses: int
    seed: int
    folder: Path
    every: float = 3.0
    drop_every: float = 3.0


@dataclass(frozen=True, kw_only=True)
class Report:
    options: RunOptions
    findings: Findings
    readings: Sequence[Reading]
    kills: Counter[str]

    @property
    def good(self) -> bool:
        return not self.findings.violations and self.findings.completed > 0

    def lines(self) -> list[str]:
        found, killed = self.findings, ", ".join(f"{part} {self.kills[part]}" for part in PARTS)
        events = sum(len(reading.numbers) for reading in self.readings)
        return [
            f"seed {self.options.seed}, {self.options.seconds / 60:.1f} minutes; killed: {killed}",
            f"{len(self.readings)} responses: {found.completed} completed, {found.failed} failed after three attempts",
            f"{events} events, {found.characters} characters of text, {found.takeovers} takeovers",
            f"{found.cuts} times a reader went on with starting_after",
            f"{len(found.violations)} violations",
            *found.violations[:20],
        ]


async def run(options: RunOptions, on_progress: Callable[[str], None]) -> Report:
    """Carry out a run."""
    with (options.folder / LOG).open("w") as log_file:
        stack_options = StackOptions(
            folder=options.folder,
            port=0,
            push_port=0,
            replicas=dict.fromkeys(SERVICES, 2),
            environment={"migrate": {"ACK_WAIT": "5.0"}},
            inherited=base_environment(),
            restart_delays=(0.2, 2.0),
        )
        async with Stack(stack_options, CombinedLog(log_file, colour=False)) as stack, _sdk(stack.url) as sdk:
            on_progress("the stack is ready")
            injector = FaultInjector(stack.processes, {}, on_progress)
            draw = random.Random(options.seed)
            readers = [
                ResponseReader(sdk, number, draw.choice(_MODELS), options.seed, drop_every=options.drop_every)
                for number in range(options.responses)
            ]
            reading = asyncio.create_task(_read(readers, options.seconds))
            await injector.run(_kills(options), options.seconds)
            on_progress("the last kill is over; waiting for the readers")
            try:
                async with asyncio.timeout(_READING_TIMEOUT):
                    await reading
            except TimeoutError:
                on_progress("not every reader saw an end in time")
            stored = await Database(stack.database_url).everything()
    readings = [reader.reading for reader in readers]
    return Report(options=options, findings=check(readings, stored), readings=readings, kills=injector.kills())


async def _read(readers: Sequence[ResponseReader], seconds: float) -> None:
    """Let each reader begin at its time."""

    async def begin(index: int, reader: ResponseReader) -> None:
        await asyncio.sleep(seconds * index / len(readers))
        await reader.run()

    async with asyncio.TaskGroup() as group:
        for index, reader in enumerate(readers):
            group.create_task(begin(index, reader))


def _kills(options: RunOptions) -> list[PlannedFault]:
    """Plan kills of random parts; the first ones are of each part once."""
    draw = random.Random(options.seed)
    first = draw.sample(PARTS, len(PARTS))
    planned: list[PlannedFault] = []
    at = 0.5 * options.every
    while at < options.seconds:
        target = first.pop() if first else draw.choice(PARTS)
        planned.append(PlannedFault(at=at, kind=FaultKind.KILL, target=target, draw=draw.getrandbits(32)))
        at += draw.uniform(0.3, 1.7) * options.every
    return planned


@asynccontextmanager
async def _sdk(url: str) -> AsyncIterator[AsyncOpenAI]:
    async with ParleyClient(url) as client:
        await client.api.ensure_session()

        async def token() -> str:
            await client.api.ensure_session()
            return client.api.access_token or ""

        async with AsyncOpenAI(base_url=f"{url}/openai/v1", api_key=token) as sdk:
            yield sdk
