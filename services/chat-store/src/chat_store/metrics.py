"""What chat-store counts. Labels are bounded: verbs, codes and consumers, never ids."""

from prometheus_client import Counter, Gauge, Histogram

RPC_SECONDS = Histogram(
    "parley_chat_store_rpc_seconds",
    "Time to answer a request, by verb and result",
    ("verb", "code"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
EVENTS = Counter("parley_chat_store_events_total", "Events handled, by consumer and result", ("consumer", "result"))
BATCH_SIZE = Histogram(
    "parley_chat_store_batch_events",
    "Events persisted in one transaction",
    ("consumer",),
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
BATCH_SECONDS = Histogram(
    "parley_chat_store_batch_seconds",
    "Time to persist a batch",
    ("consumer",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
PROMPT_DELAY = Histogram(
    "parley_chat_store_prompt_delay_seconds",
    "Time from a prompt's acceptance to its commit",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60),
)
REQUESTED = Counter("parley_chat_store_requests_total", "Requests for answers that are stored in the stream")
ENDED = Counter("parley_chat_store_answers_total", "Answers that ended, by outcome", ("outcome",))
REFUSED = Counter(
    "parley_chat_store_refused_total",
    "Prompts, answers, chats and calls of the provider refused by a limit",
    ("limit",),
)
SWEPT = Counter("parley_chat_store_swept_total", "What the sweeper had to put right, by kind", ("kind",))
OLDEST_REQUEST = Gauge(
    "parley_chat_store_oldest_request_seconds", "Age of the oldest answer that no worker has claimed; 0 unless leader"
)
LEADER = Gauge("parley_chat_store_leader", "1 on the replica that consumes prompts and sweeps")
