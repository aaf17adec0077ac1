"""Metrics of the gateway. Labels are bounded: the route's template, never its path."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REQUESTS = Counter("parley_gateway_requests_total", "Requests answered", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "parley_gateway_request_seconds",
    "From the request's head to the end of its answer (streams of events left out)",
    ["route"],
    buckets=_SECONDS,
)
PUBLISH_SECONDS = Histogram(
    "parley_gateway_publish_seconds",
    "From a prompt to the acknowledgement of its stream",
    buckets=_SECONDS,
)
PUBLISH_FAILURES = Counter(
    "parley_gateway_publish_failures_total", "Prompts that were not acknowledged in time and got a 503"
)
STALE_ACCESS = Counter(
    "parley_gateway_stale_access_total", "Sends let through on a remembered right because chat-store did not answer"
)
STALE_IDENTITIES = Counter(
    "parley_gateway_stale_identities_total",
    "Requests authenticated from the cache because chat-store did not answer",
)
RATE_LIMITED = Counter("parley_gateway_rate_limited_total", "Requests refused for their rate", ["limit"])
REFUSED_SIGN_INS = Counter(
    "parley_gateway_refused_sign_ins_total", "Sign-ins, API keys and tokens of others refused", ["method", "reason"]
)
UNCHECKED_PROMPTS = Counter(
    "parley_gateway_unchecked_prompts_total",
    "Prompts accepted without a check of limits because chat-store did not reply",
)
STREAMS = Gauge("parley_gateway_streams", "Streams of server-sent events that are open")
STREAM_FRAMES = Counter("parley_gateway_stream_frames_total", "Frames relayed as server-sent events")
STREAM_RECONNECTS = Counter("parley_gateway_stream_reconnects_total", "Times that a stream went over to another push")
CONNECTIONS = Gauge("parley_gateway_connections", "Connections that are open")
CONNECTIONS_ENDED = Counter(
    "parley_gateway_connections_ended_total",
    "Connections that were ended for a limit (timeout, too_many, too_large) or for what is not HTTP (malformed)",
    ["reason"],
)
for _reason in ("timeout", "too_many", "too_large", "malformed"):
    # From the start at zero: the first one is seen as a rate, too.
    CONNECTIONS_ENDED.labels(_reason)
