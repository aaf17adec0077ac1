"""What will be done to which part, and when: drawn from a seed, so that a run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
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
"""Connections that lead through a proxy, one for all replicas of a service."""


class Deed(Enum):
    """What can be done: the first three to a process, the others to a link."""

    KILL = "kill"
    """SIGKILL."""
    PAUSE = "pause"
    """SIGSTOP, and SIGCONT when the time is over."""
    RESTART = "restart"
    """SIGTERM."""
    RESET = "reset"
    """One or all of a link's connections end with a reset."""
    CUT = "cut"
    """All connections are reset, and new ones too, until the time is over."""
    STALL = "stall"
    """Nothing gets through on one or all connections; afterwards what was held back arrives."""
    DELAY = "delay"
    """Every byte arrives late, until the time is over."""


PROCESS_DEEDS = {Deed.KILL: 5, Deed.PAUSE: 2, Deed.RESTART: 3}
LINK_DEEDS = {Deed.RESET: 4, Deed.CUT: 3, Deed.STALL: 3, Deed.DELAY: 2}
"""By weight."""

_LINKS_SHARE = 0.3
_LATENESS = (0.005, 0.15)


@dataclass(frozen=True, kw_only=True)
class Disruption:
    """One deed.

    Attributes:
        at: Seconds after the beginning.
        target: A part (for a process) or a link.
        duration: Seconds until it is undone; 0 for what is over at once.
        one: Only one connection of the link.
        lateness: Of a delay: seconds that each byte is held back.
        draw: The seed of what only shows when it is done: which replica, which connection.
    """

    at: float
    deed: Deed
    target: str
    draw: int
    duration: float = 0.0
    one: bool = False
    lateness: float = 0.0

    def __str__(self) -> str:
        words = f"{self.deed.value} {self.target}"
        if self.one:
            words += " (one connection)"
        if self.lateness:
            words += f" by {self.lateness * 1000:.0f} ms"
        return words + (f" for {self.duration:.1f} s" if self.duration else "")


def plan(
    seed: int,
    seconds: float,
    *,
    every: float,
    ack_wait: float,
    parts: Sequence[str] = PARTS,
    links: Sequence[str] = LINKS,
) -> list[Disruption]:
    """Draw a run's disruptions, in order of time.

    The first ones kill each of ``parts`` once, so that the shortest run has seen all; then chance decides.

    Args:
        seed: The same seed gives the same plan.
        seconds: How long the run lasts.
        every: Seconds between two disruptions, on average.
        ack_wait: Pauses and stalls are around it: some too short to matter, some long enough for a takeover.
        parts: Those that are struck; one that is named twice, twice as often.
        links: Those that lead through a proxy.
    """
    draw = random.Random(seed)
    round_of_kills = list(parts)
    draw.shuffle(round_of_kills)
    disruptions = []
    at = every
    while at < seconds:
        if round_of_kills:
            deed, target = Deed.KILL, round_of_kills.pop()
        elif draw.random() < _LINKS_SHARE:
            deed, target = _choose(draw, LINK_DEEDS), draw.choice(links)
        else:
            deed, target = _choose(draw, PROCESS_DEEDS), draw.choice(parts)
        disruptions.append(_disruption(draw, at, deed, target, ack_wait))
        at += draw.uniform(0.3, 1.7) * every
    return disruptions


def _choose(draw: random.Random, weights: dict[Deed, int]) -> Deed:
    return draw.choices(list(weights), list(weights.values()))[0]


def _disruption(draw: random.Random, at: float, deed: Deed, target: str, ack_wait: float) -> Disruption:
    number = draw.getrandbits(32)
    match deed:
        case Deed.KILL | Deed.RESTART:
            return Disruption(at=at, deed=deed, target=target, draw=number)
        case Deed.PAUSE:
            duration = draw.uniform(0.3, 2.2) * ack_wait
            return Disruption(at=at, deed=deed, target=target, draw=number, duration=duration)
        case Deed.RESET:
            return Disruption(at=at, deed=deed, target=target, draw=number, one=draw.random() < 0.5)
        case Deed.CUT:
            duration = draw.uniform(0.2, 1.5) * ack_wait
            return Disruption(at=at, deed=deed, target=target, draw=number, duration=duration)
        case Deed.STALL:
            duration = draw.uniform(0.2, 2.2) * ack_wait
            one = draw.random() < 0.6
            return Disruption(at=at, deed=deed, target=target, draw=number, duration=duration, one=one)
        case Deed.DELAY:
            duration = draw.uniform(1.0, 3.0) * ack_wait
            lateness = draw.uniform(*_LATENESS)
            return Disruption(at=at, deed=deed, target=target, draw=number, duration=duration, lateness=lateness)
