"""The planned faults, drawn from a seed so that a run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

SERVICES = ("gateway", "chat-store", "llm-worker", "push")
SERVERS = ("nats-server", "postgres", "provider")
PARTS = (*SERVICES, *SERVERS)

LINKS = (
    "gateway → nats-server",
    "chat-store → nats-server",
    "llm-worker → nats-server",
    "push → nats-server",
    "chat-store → postgres",
    "llm-worker → provider",
)
"""Connections through a proxy, one for all replicas of a service."""


class FaultKind(Enum):
    """The kinds of faults: the first three of a process, the others of a link."""

    KILL = "kill"
    """SIGKILL."""
    PAUSE = "pause"
    """SIGSTOP, and SIGCONT after the duration."""
    RESTART = "restart"
    """SIGTERM."""
    RESET = "reset"
    """One or all connections of a link are reset."""
    CUT = "cut"
    """All connections are reset, and new ones refused, for the duration."""
    STALL = "stall"
    """One or all connections deliver nothing for the duration, and then what was sent meanwhile."""
    DELAY = "delay"
    """Every byte is delayed, for the duration."""


PROCESS_FAULTS = {FaultKind.KILL: 5, FaultKind.PAUSE: 2, FaultKind.RESTART: 3}
LINK_FAULTS = {FaultKind.RESET: 4, FaultKind.CUT: 3, FaultKind.STALL: 3, FaultKind.DELAY: 2}
"""By weight."""

_LINKS_SHARE = 0.3
_LATENCY = (0.005, 0.15)


@dataclass(frozen=True, kw_only=True)
class PlannedFault:
    """A fault to inject.

    Attributes:
        at: Seconds after the beginning.
        target: A part (for a process) or a link.
        duration: Seconds until it is reverted; 0 for an instantaneous one.
        one: Only one connection of the link.
        latency: Of a delay, in seconds.
        draw: The seed for the choice of replica or connection.
    """

    at: float
    kind: FaultKind
    target: str
    draw: int
    duration: float = 0.0
    one: bool = False
    latency: float = 0.0

    def __str__(self) -> str:
        words = f"{self.kind.value} {self.target}"
        if self.one:
            words += " (one connection)"
        if self.latency:
            words += f" by {self.latency * 1000:.0f} ms"
        return words + (f" for {self.duration:.1f} s" if self.duration else "")


@dataclass(frozen=True)
class InjectedFault:
    """A fault that was injected: when (Unix seconds), what, and on which process or link."""

    at: float
    planned: PlannedFault
    target: str

    @property
    def is_kill(self) -> bool:
        return self.planned.kind is FaultKind.KILL


def plan(
    seed: int,
    seconds: float,
    *,
    every: float,
    ack_wait: float,
    parts: Sequence[str] = PARTS,
    links: Sequence[str] = LINKS,
) -> list[PlannedFault]:
    """Return the faults of a run, in order of time.

    The first ones kill each of ``parts`` once, so that even a short run covers all; the others are random.

    Args:
        seed: The same seed gives the same plan.
        seconds: How long the run lasts.
        every: Seconds between two faults, on average.
        ack_wait: Pauses and stalls last around it: some shorter, some long enough for a takeover.
        parts: The parts that get faults; one that is named twice, twice as often.
        links: The links that get faults.
    """
    draw = random.Random(seed)
    round_of_kills = list(parts)
    draw.shuffle(round_of_kills)
    planned = []
    at = every
    while at < seconds:
        if round_of_kills:
            kind, target = FaultKind.KILL, round_of_kills.pop()
        elif draw.random() < _LINKS_SHARE:
            kind, target = _choose(draw, LINK_FAULTS), draw.choice(links)
        else:
            kind, target = _choose(draw, PROCESS_FAULTS), draw.choice(parts)
        planned.append(_planned_fault(draw, at, kind, target, ack_wait))
        at += draw.uniform(0.3, 1.7) * every
    return planned


def _choose(draw: random.Random, weights: dict[FaultKind, int]) -> FaultKind:
    return draw.choices(list(weights), list(weights.values()))[0]


def _planned_fault(draw: random.Random, at: float, kind: FaultKind, target: str, ack_wait: float) -> PlannedFault:
    planned = PlannedFault(at=at, kind=kind, target=target, draw=draw.getrandbits(32))
    match kind:
        case FaultKind.KILL | FaultKind.RESTART:
            return planned
        case FaultKind.PAUSE:
            return replace(planned, duration=draw.uniform(0.3, 2.2) * ack_wait)
        case FaultKind.RESET:
            return replace(planned, one=draw.random() < 0.5)
        case FaultKind.CUT:
            return replace(planned, duration=draw.uniform(0.2, 1.5) * ack_wait)
        case FaultKind.STALL:
            return replace(planned, duration=draw.uniform(0.2, 2.2) * ack_wait, one=draw.random() < 0.6)
        case FaultKind.DELAY:
            return replace(planned, duration=draw.uniform(1.0, 3.0) * ack_wait, latency=draw.uniform(*_LATENCY))
