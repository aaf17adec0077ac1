"""One run: a stack, clients that read answers, and kills; then all that is stored."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from parley_cli.child_process import base_environment
from parley_cli.stack.log import CombinedLog
from parley_cli.stack.options import StackOptions
from parley_cli.stack.stack import Stack
from parley_client import ParleyClient
from tests.chaos.fault_injector import FaultInjector
from tests.chaos.plan import SERVICES, FaultKind, PlannedFault
from tests.chaos.protocols import ag_ui, ai_sdk, responses
from tests.chaos.protocols.check import Findings, check
from tests.chaos.protocols.reader import Ask, Connect, Reader
from tests.chaos.run import LOG
from tests.chaos.stored import read_stored

PROTOCOLS: Mapping[str, Connect] = {
    "responses": responses.connect,
    "ai-sdk": ai_sdk.connect,
    "ag-ui": ag_ui.connect,
}
PARTS = (*SERVICES, "nats-server", "postgres")

_MODELS = ("demo-rate-40x160", "demo-rate-25x150", "demo-rate-100x300", "demo-reasoning", "demo-fast")
_READING_TIMEOUT = 150.0
"""How long the clients may take after the last kill."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of a run.

    Attributes:
        protocols: Of which there are ``answers`` readers each.
        seconds: For how long parts are killed, and answers asked for.
        every: Seconds between two kills, on average.
        drop_every: Seconds after which a client drops its connection, on average.
    """

    protocols: Sequence[str]
    seconds: float
    answers: int
    seed: int
    folder: Path
    every: float = 3.0
    drop_every: float = 3.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """The results of a run.

    Attributes:
        findings: By protocol.
    """

    options: RunOptions
    findings: Mapping[str, Findings]
    kills: Counter[str]

    @property
    def good(self) -> bool:
        return all(not found.violations and found.completed > 0 for found in self.findings.values())

    def lines(self) -> list[str]:
        killed = ", ".join(f"{part} {self.kills[part]}" for part in PARTS)
        lines = [
            f"seed {self.options.seed}, {self.options.seconds / 60:.1f} minutes; {self.kills.total()} kills: {killed}"
        ]
        for protocol, found in self.findings.items():
            lines.append(
                f"{protocol}: {self.options.answers} answers: {found.completed} completed, "
                f"{found.failed} failed after three attempts; {found.takeovers} takeovers"
            )
            lines.append(
                f"  {found.cuts} times a reader was cut off and went on; {found.events} numbered events, "
                f"{found.characters} characters of text, {len(found.violations)} violations"
            )
            lines += [f"  {violation}" for violation in found.violations[:20]]
        return lines


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
        log = CombinedLog(log_file, colour=False)

        def report_progress(line: str) -> None:
            log.line("chaos", line)
            on_progress(line)

        async with AsyncExitStack() as running:
            stack = await running.enter_async_context(Stack(stack_options, log))
            readers = await _readers(options, stack.url, running)
            report_progress("the stack is ready")
            injector = FaultInjector(stack.processes, {}, report_progress)
            reading = asyncio.create_task(_read([each for some in readers.values() for each in some], options))
            await injector.run(_kills(options), options.seconds)
            report_progress("the last kill is over; waiting for the readers")
            try:
                async with asyncio.timeout(_READING_TIMEOUT):
                    await reading
            except TimeoutError:
                report_progress("not every reader saw an end in time")
            stored = await read_stored(stack.database_url)
    findings = {protocol: check([reader.reading for reader in some], stored) for protocol, some in readers.items()}
    return Report(options=options, findings=findings, kills=injector.kills())


async def _readers(options: RunOptions, url: str, running: AsyncExitStack) -> dict[str, list[Reader]]:
    """Return the readers of each protocol."""
    key = await _api_key(url)
    draw = random.Random(options.seed)
    readers = {}
    for protocol in options.protocols:
        new_reader = await running.enter_async_context(PROTOCOLS[protocol](url, key))
        asks = [
            Ask(number=number, model=draw.choice(_MODELS), seed=options.seed, drop_every=options.drop_every)
            for number in range(options.answers)
        ]
        readers[protocol] = [new_reader(ask) for ask in asks]
    return readers


async def _api_key(url: str) -> str:
    """Return the API key of a new guest."""
    async with ParleyClient(url) as guest, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        await guest.api.ensure_session()
        body = {"name": "chaos", "scopes": ["read", "write", "openai"]}
        response = await http.post("/v1/api-keys", json=body, headers=guest.api.headers)
        response.raise_for_status()
        return str(response.json()["secret"])


async def _read(readers: Sequence[Reader], options: RunOptions) -> None:
    """Let each reader begin at its time."""

    async def begin(reader: Reader) -> None:
        await asyncio.sleep(options.seconds * reader.ask.number / options.answers)
        await reader.run()

    async with asyncio.TaskGroup() as group:
        for reader in readers:
            group.create_task(begin(reader))


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
