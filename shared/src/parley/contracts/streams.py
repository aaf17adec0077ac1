"""The JetStream streams and durable consumers, declared once.

The provisioning step (:mod:`parley.runtime.nats.provision`) creates them; services only bind, and refuse to
start when one is missing or differs.
"""

from dataclasses import dataclass
from typing import Final, Literal

from parley.contracts import subjects

SECOND = 1.0
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@dataclass(frozen=True, kw_only=True)
class StreamSpec:
    """A stream with limits retention. Times are seconds, sizes bytes.

    Attributes:
        discard: At a limit ``new`` refuses what comes, so that nothing accepted is lost, and ``old`` drops the oldest.
        persist: ``durable`` waits for the disk before each acknowledgement (the server has ``sync_interval: always``);
            ``async`` does not, for what may be lost with the operating system.
    """

    name: str
    subjects: tuple[str, ...]
    max_age: float
    duplicate_window: float = 2 * MINUTE
    max_msgs_per_subject: int = -1
    discard: Literal["new", "old"] = "new"
    persist: Literal["durable", "async"] = "durable"
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class ConsumerSpec:
    """A durable pull consumer with explicit acknowledgement. Times are seconds.

    Attributes:
        max_deliver: After so many deliveries the server gives up and sends a MAX_DELIVERIES advisory.
        max_ack_pending: How many messages may be out at once, over all replicas.
    """

    name: str
    stream: str
    filter_subject: str
    ack_wait: float
    max_deliver: int
    max_ack_pending: int
    description: str = ""


CHAT: Final = StreamSpec(
    name="CHAT",
    subjects=(
        subjects.ANY_PROMPT_SUBMITTED,
        subjects.ANY_GENERATION_REQUESTED,
        subjects.ANY_GENERATION_FINISHED,
        subjects.WRITE_PROBE,
    ),
    max_age=7 * DAY,
    duplicate_window=10 * MINUTE,
    description="Prompts, requests for answers, and answers: what must never be lost.",
)
SEGMENTS: Final = StreamSpec(
    name="SEGMENTS",
    subjects=(subjects.ANY_GENERATION_SEGMENT,),
    max_age=1 * HOUR,
    max_msgs_per_subject=4096,
    # Of an answer with more, the newest are kept.
    discard="old",
    persist="async",
    description="The text of running answers, about one second each, for an answer that fails.",
)
DEAD_LETTERS: Final = StreamSpec(
    name="DEAD_LETTERS",
    subjects=(subjects.ANY_DEAD_LETTER,),
    max_age=30 * DAY,
    description="What could not be handled, with the reason and the original headers.",
)
ADVISORIES: Final = StreamSpec(
    name="ADVISORIES",
    subjects=(subjects.ANY_MAX_DELIVERIES,),
    max_age=7 * DAY,
    description="The server's word that a message used up its deliveries.",
)
AUDIT: Final = StreamSpec(
    name="AUDIT",
    subjects=(subjects.ANY_AUDIT,),
    max_age=365 * DAY,
    # By kind, so that many refused sign-ins drop nothing but older ones.
    max_msgs_per_subject=1_000_000,
    discard="old",
    description="Sign-ins, keys, links, roles, erasures: who did what, by ids.",
)
STREAMS: Final = (CHAT, SEGMENTS, DEAD_LETTERS, ADVISORIES, AUDIT)

CHAT_STORE_PROMPTS: Final = ConsumerSpec(
    name="chat-store-prompts",
    stream=CHAT.name,
    filter_subject=subjects.ANY_PROMPT_SUBMITTED,
    ack_wait=30 * SECOND,
    max_deliver=-1,
    max_ack_pending=4096,
    description="Persists prompts and starts generations.",
)
CHAT_STORE_FINISHED: Final = ConsumerSpec(
    name="chat-store-finished",
    stream=CHAT.name,
    filter_subject=subjects.ANY_GENERATION_FINISHED,
    ack_wait=30 * SECOND,
    max_deliver=-1,
    max_ack_pending=1024,
    description="Makes generations terminal and starts queued prompts.",
)
LLM_WORKER_REQUESTS: Final = ConsumerSpec(
    name="llm-worker-requests",
    stream=CHAT.name,
    filter_subject=subjects.ANY_GENERATION_REQUESTED,
    ack_wait=15 * SECOND,
    max_deliver=20,
    max_ack_pending=10_000,
    description="Produces answers; in_progress at a third of ack_wait keeps one alive.",
)
CHAT_STORE_ADVISORIES: Final = ConsumerSpec(
    name="chat-store-advisories",
    stream=ADVISORIES.name,
    filter_subject=subjects.ANY_MAX_DELIVERIES,
    ack_wait=30 * SECOND,
    max_deliver=-1,
    max_ack_pending=256,
    description="Ends or re-requests what used up its deliveries.",
)
CONSUMERS: Final = (CHAT_STORE_PROMPTS, CHAT_STORE_FINISHED, LLM_WORKER_REQUESTS, CHAT_STORE_ADVISORIES)
