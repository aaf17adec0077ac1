"""One run: a stack, a workload and a fault injector; then quiescence, and the invariant checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from parley.contracts import streams
from parley_cli.child_process import base_environment
from parley_cli.stack.log import CombinedLog
from parley_cli.stack.options import StackOptions
from parley_cli.stack.stack import Stack
from tests.chaos.cluster import Cluster, connection
from tests.chaos.fault_injector import FaultInjector
from tests.chaos.invariants import check
from tests.chaos.machine_load import recorded_load
from tests.chaos.plan import LINKS, PARTS, SERVICES, plan
from tests.chaos.proxy import Proxy, proxied_address
from tests.chaos.quiescence import wait_for_quiescence
from tests.chaos.report import Report
from tests.chaos.workload import Workload

LOG = "stack.log"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of a run.

    Attributes:
        seconds: For how long faults are injected.
        every: Seconds between two faults, on average.
        ack_wait: Seconds without a heartbeat after which another worker takes an answer over.
        replicas: Of each service.
        cluster: Three nats-servers with three replicas of each stream, of which the leader is killed; no links to NATS.
        folder: Of the stack's data and log.
    """

    seconds: float
    seed: int
    folder: Path
    users: int = 8
    every: float = 4.0
    ack_wait: float = 5.0
    replicas: int = 2
    cluster: bool = False

    @property
    def parts(self) -> Sequence[str]:
        """The parts that get faults; each server of a cluster as often as a single one would."""
        return (*PARTS, "nats-server", "nats-server") if self.cluster else PARTS

    @property
    def links(self) -> Sequence[str]:
        """The proxied ones. The clients of a cluster know all its servers, and a proxy before one changes nothing."""
        return [link for link in LINKS if not (self.cluster and link.endswith("nats-server"))]


async def run(options: RunOptions, on_progress: Callable[[str], None]) -> Report:
    """Carry out a run.

    Raises:
        StackError, EmbeddedError: The stack did not start.
    """
    with (options.folder / LOG).open("w") as log_file:
        log = CombinedLog(log_file, colour=False)

        def report_progress(line: str) -> None:
            log.line("chaos", line)
            on_progress(line)

        async with AsyncExitStack() as running:
            proxies = {link: await running.enter_async_context(Proxy(link)) for link in options.links}
            cluster = await running.enter_async_context(Cluster(options.folder, log)) if options.cluster else None
            stack_options = _stack_options(options, proxies, cluster)
            stack = await running.enter_async_context(Stack(stack_options, log))
            report_progress("the stack is ready")
            workload = await running.enter_async_context(Workload(stack.url, options.users, options.seed))
            if cluster is None:
                injector = FaultInjector(stack.processes, proxies, report_progress)
            else:
                processes = {**stack.processes, **cluster.processes}
                injector = FaultInjector(processes, proxies, report_progress, cluster.leader)
            return await _inject(options, stack, injector, workload, report_progress)


async def _inject(
    options: RunOptions,
    stack: Stack,
    injector: FaultInjector,
    workload: Workload,
    report_progress: Callable[[str], None],
) -> Report:
    workload.start()
    faults = plan(
        options.seed,
        options.seconds,
        every=options.every,
        ack_wait=options.ack_wait,
        parts=options.parts,
        links=options.links,
    )
    began = time.time()
    async with recorded_load() as load:
        await injector.run(faults, options.seconds)
        report_progress("all faults are reverted; waiting until all answers have ended")
        done = time.monotonic()
        stored = await wait_for_quiescence(workload, stack.database_url, report_progress)
        quiescence_seconds = time.monotonic() - done
    log_text = (options.folder / LOG).read_text(errors="replace")
    return Report(
        seed=options.seed,
        seconds=options.seconds,
        began=began,
        load=load,
        history=workload.history,
        stored=stored,
        findings=check(
            workload.history,
            stored,
            workload.readings(),
            faults=injector.done,
            progress=workload.progress,
            now=time.time(),
        ),
        injector=injector,
        readers=len(workload.readers),
        unsent=workload.unsent,
        rest=quiescence_seconds,
        dead_letters=await _dead_letters(stack.nats_url),
        tracebacks=log_text.count("Traceback (most recent call last)"),
    )


def _stack_options(options: RunOptions, proxies: Mapping[str, Proxy], cluster: Cluster | None) -> StackOptions:
    inherited = base_environment()
    migrate = {"ACK_WAIT": str(options.ack_wait)}
    if cluster is not None:
        inherited["NATS_URL"] = cluster.url
        migrate["STREAM_REPLICAS"] = str(len(cluster.processes))
    return StackOptions(
        folder=options.folder,
        port=0,
        push_port=0,
        replicas=dict.fromkeys(SERVICES, options.replicas),
        environment={"migrate": migrate},
        inherited=inherited,
        address_for=partial(proxied_address, proxies),
        restart_delays=(0.2, 2.0),
    )


async def _dead_letters(nats_url: str) -> int:
    async with connection(nats_url) as nc:
        return int((await nc.jetstream(timeout=10).stream_info(streams.DEAD_LETTERS.name)).state.messages)
