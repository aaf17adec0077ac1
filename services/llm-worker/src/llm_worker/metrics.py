"""The Prometheus metrics of llm-worker. Labels are bounded: outcomes and error codes, never an id; models only when the
provider lists them."""

from collections.abc import Iterator

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class _TokenPath(Collector):
    """Counters on the token path: plain integers, which cost a twentieth of a ``Counter``."""

    def __init__(self) -> None:
        self.tokens = 0
        self.deltas = 0

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(
            "parley_llm_worker_tokens_total", "Chunks of text that models sent", value=self.tokens
        )
        yield CounterMetricFamily("parley_llm_worker_deltas_total", "Deltas published", value=self.deltas)


TOKEN_PATH = _TokenPath()
REGISTRY.register(TOKEN_PATH)

RUNNING = Gauge("parley_llm_worker_running_answers", "Answers being made now")
ANSWERS = Counter("parley_llm_worker_answers_total", "Answers that ended here, by outcome", ["outcome"])
ATTEMPTS = Counter("parley_llm_worker_attempts_total", "Attempts claimed")
TAKEOVERS = Counter(
    "parley_llm_worker_takeovers_total", "Answers that another worker began (it was killed, cut off or shut down)"
)
DEAD_LETTERS = Counter("parley_llm_worker_dead_letters_total", "Requests that could not be handled")
MODEL_TOKENS = Counter(
    "parley_llm_worker_model_tokens_total",
    "Tokens by model and direction (input or output), as the provider counts them; estimated where an answer broke off",
    ["model", "direction"],
)
QUEUE = Histogram(
    "parley_llm_worker_queue_seconds",
    "From the request for an answer to its first claim",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300),
)
PROVIDER_ERRORS = Counter("parley_llm_worker_provider_errors_total", "Failures of the provider, by code", ["code"])
# From the start at zero: the first one raises an alert, too.
PROVIDER_ERRORS.labels("provider_auth")
TOOL_CALLS = Counter(
    "parley_llm_worker_tool_calls_total", "Calls of tools, by tool server and outcome", ["server", "outcome"]
)
TOOL_CALL = Histogram(
    "parley_llm_worker_tool_call_seconds",
    "Duration of a call of a tool",
    ["server"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
LEASES_LOST = Counter("parley_llm_worker_leases_lost_total", "Answers dropped because heartbeats were late")
RELEASED = Counter("parley_llm_worker_handed_back_total", "Answers released to another worker at shutdown")
FIRST_TOKEN = Histogram(
    "parley_llm_worker_first_token_seconds",
    "From the request to the provider to its first token",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
STOP = Histogram(
    "parley_llm_worker_stop_seconds",
    "From the stop signal to the closed provider connection",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
