"""The metrics of push.

Counts of the delta path are plain numbers (:class:`push.rooms.readers.Counters`), read when somebody scrapes.
"""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

REQUESTS: Final = Counter(
    "parley_push_requests",
    "Requests to chat-store (sync, versions, find_revoked) and to workers (snapshot), by outcome",
    ["request", "outcome"],
)
CLOSED: Final = Counter("parley_push_sockets_closed", "Sockets that push closed, by close code", ["code"])

ADDED_DELAY: Final = Histogram(
    "parley_push_added_delay_seconds",
    "From a worker's read of text from the provider to its write to readers; of one delta per answer and second. "
    "Between machines it holds the difference of their clocks, too",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)


class Counts(Protocol):
    """The numbers of :class:`push.rooms.readers.Counters`."""

    deltas: int
    frames: int
    bytes: int
    gaps: int


class _Collector(Collector):
    def __init__(self, counters: Counts, gauges: dict[str, tuple[str, Callable[[], int]]]) -> None:
        self._counters = counters
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        counters = self._counters
        yield CounterMetricFamily("parley_push_deltas_received", "Deltas from workers", counters.deltas)
        yield CounterMetricFamily(
            "parley_push_frames_sent", "Writes to readers: one holds one or more frames", counters.frames
        )
        yield CounterMetricFamily("parley_push_sent_bytes", "Bytes of frames to readers", counters.bytes)
        yield CounterMetricFamily("parley_push_gaps", "Deltas that were missed and asked for", counters.gaps)
        for name, (text, value) in self._gauges.items():
            yield GaugeMetricFamily(f"parley_push_{name}", text, value())


def publish(
    counters: Counts,
    *,
    sockets: Callable[[], int],
    streams: Callable[[], int],
    rooms: Callable[[], int],
    readers: Callable[[], int],
    lists: Callable[[], int],
    lagging: Callable[[], int],
    registry: CollectorRegistry = REGISTRY,
) -> None:
    """Make the numbers of this process visible; once."""
    registry.register(
        _Collector(
            counters,
            {
                "sockets": ("Open sockets", sockets),
                "streams": ("Streams of server-sent events among them", streams),
                "rooms": ("Chats that somebody reads, or did a moment ago", rooms),
                "lists": ("Users whose lists of chats are followed: one subscription each", lists),
                "readers": ("Chats watched, over all sockets", readers),
                "lagging_readers": ("Readers whose socket cannot take more now", lagging),
            },
        )
    )
