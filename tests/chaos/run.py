"""One run: a stack, its users, its saboteur; then rest, and the checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from parley.contracts import streams
from parley_cli.child_process import base_environment
from parley_cli.stack.log import CombinedLog
from parley_cli.stack.options import StackOptions
from parley_cli.stack.stack import Stack
from tests.chaos.cluster import Cluster, connection
from tests.chaos.fault_injector import Saboteur
from tests.chaos.invariants import check
from tests.chaos.machine_load import Load
from tests.chaos.plan import LINKS, PARTS, SERVICES, plan
from tests.chaos.proxies import Detours
from tests.chaos.quiescence import rest
from tests.chaos.report import Report
from tests.chaos.workload import Crowd

LOG = "stack.log"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a run is asked for.

    Attributes:
        seconds: How long things are broken; the rest afterwards takes as long as it takes.
        every: Seconds between two deeds, on average.
        ack_wait: After so many seconds of silence another worker takes an answer over.
        replicas: Of each service.
        cluster: Three nats-servers with three copies of each stream, of which the leader is struck; no links to NATS.
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
        """What is struck; each server of a cluster as often as the one that it stands for."""
        return (*PARTS, "nats-server", "nats-server") if self.cluster else PARTS

    @property
    def links(self) -> Sequence[str]:
        """The proxied ones. The clients of a cluster know all its servers, and a proxy before one changes nothing."""
        return [link for link in LINKS if not (self.cluster and link.endswith("nats-server"))]


async def run(options: RunOptions, tell: Callable[[str], None]) -> Report:
    """Carry it out.

    Raises:
        StackError, EmbeddedError: The stack did not start.
    """
    with (options.folder / LOG).open("w") as log_file:
        log = CombinedLog(log_file, colour=False)

        def say(line: str) -> None:
            log.line("chaos", line)
            tell(line)

        async with AsyncExitStack() as running:
            detours = await running.enter_async_context(Detours(options.links))
            cluster = await running.enter_async_context(Cluster(options.folder, log)) if options.cluster else None
            stack_options = _stack_options(options, detours, cluster)
            stack = await running.enter_async_context(Stack(stack_options, log))
            say("the stack is up")
            crowd = await running.enter_async_context(Crowd(stack.url, options.users, options.seed))
            if cluster is None:
                saboteur = Saboteur(stack.processes, detours.proxies, say)
            else:
                processes = {**stack.processes, **cluster.processes}
                saboteur = Saboteur(processes, detours.proxies, say, cluster.leader)
            return await _disturb(options, stack, saboteur, crowd, say)


async def _disturb(
    options: RunOptions, stack: Stack, saboteur: Saboteur, crowd: Crowd, say: Callable[[str], None]
) -> Report:
    crowd.start()
    deeds = plan(
        options.seed,
        options.seconds,
        every=options.every,
        ack_wait=options.ack_wait,
        parts=options.parts,
        links=options.links,
    )
    began = time.time()
    async with Load() as load:
        await saboteur.run(deeds, options.seconds)
        say("all that was broken is whole again; waiting for rest")
        done = time.monotonic()
        stored = await rest(crowd, stack.database_url, say)
        rested = time.monotonic() - done
    log_text = (options.folder / LOG).read_text(errors="replace")
    return Report(
        seed=options.seed,
        seconds=options.seconds,
        began=began,
        load=load,
        ledger=crowd.ledger,
        stored=stored,
        findings=check(
            crowd.ledger,
            stored,
            crowd.readings(),
            faults=saboteur.faults(),
            progress=crowd.progress,
            now=time.time(),
        ),
        saboteur=saboteur,
        readers=len(crowd.readers),
        unsent=crowd.unsent,
        rest=rested,
        dead_letters=await _dead_letters(stack.nats_url),
        tracebacks=log_text.count("Traceback (most recent call last)"),
    )


def _stack_options(options: RunOptions, detours: Detours, cluster: Cluster | None) -> StackOptions:
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
        detour=detours.detour,
        restart_delays=(0.2, 2.0),
    )


async def _dead_letters(nats_url: str) -> int:
    async with connection(nats_url) as nc:
        return int((await nc.jetstream(timeout=10).stream_info(streams.DEAD_LETTERS.name)).state.messages)
