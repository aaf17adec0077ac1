"""The metrics of push."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
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

SOCKETS: Final = Gauge("parley_push_sockets", "Open sockets")
STREAMS: Final = Gauge("parley_push_streams", "Streams of server-sent events among them")
ROOMS: Final = Gauge("parley_push_rooms", "Chats that somebody reads, or did a moment ago")
LISTS: Final = Gauge("parley_push_lists", "Users whose lists of chats are followed: one subscription each")
READERS: Final = Gauge("parley_push_readers", "Chats watched, over all sockets")
LAGGING_READERS: Final = Gauge("parley_push_lagging_readers", "Readers whose socket cannot take more now")


class Counters(Collector):
    """What all rooms of a process did, as plain numbers: the path of a delta has no time for more."""

    def __init__(self) -> None:
        self.deltas = 0
        self.frames = 0
        self.bytes = 0
        self.gaps = 0

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily("parley_push_deltas_received", "Deltas from workers", self.deltas)
        yield CounterMetricFamily(
            "parley_push_frames_sent", "Writes to readers: one holds one or more frames", self.frames
        )
        yield CounterMetricFamily("parley_push_sent_bytes", "Bytes of frames to readers", self.bytes)
        yield CounterMetricFamily("parley_push_gaps", "Deltas that were missed and asked for", self.gaps)
