"""Write Parley's dashboards. Each panel is a title, a unit and its queries by legend; the rest is the same for all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "dashboards"
WINDOW = "$__rate_interval"


@dataclass(frozen=True)
class Panel:
    title: str
    unit: str
    queries: dict[str, str]
    description: str = ""


def rate(metric: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({metric}[{WINDOW}]))"


def quantile(q: float, metric: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket[{WINDOW}])))"


OVERVIEW = [
    Panel("Messages accepted", "ops", {"messages": rate("parley_gateway_publish_seconds_count")}),
    Panel("Answers ended", "ops", {"{{outcome}}": rate("parley_chat_store_answers_total", "outcome")}),
    Panel("Answers running", "short", {"{{instance}}": "parley_llm_worker_running_answers"}),
    Panel("Open sockets", "short", {"{{instance}}": "parley_push_sockets"}),
    Panel(
        "First token",
        "s",
        {
            "p50": quantile(0.5, "parley_llm_worker_first_token_seconds"),
            "p95": quantile(0.95, "parley_llm_worker_first_token_seconds"),
        },
        "From the request to the provider to its first token.",
    ),
    Panel("Tokens", "ops", {"from models": rate("parley_llm_worker_tokens_total")}),
    Panel(
        "Added delay",
        "s",
        {
            "p50": quantile(0.5, "parley_push_added_delay_seconds"),
            "p99": quantile(0.99, "parley_push_added_delay_seconds"),
        },
        "From a worker's read of text to its write to readers, of one delta per answer and second.",
    ),
    Panel(
        "Waiting for a worker",
        "s",
        {
            "oldest answer": "max(parley_chat_store_oldest_request_seconds)",
            "p95": quantile(0.95, "parley_llm_worker_queue_seconds"),
        },
        "The age of the oldest waiting answer, and how long started answers had waited.",
    ),
    Panel(
        "From acceptance to the database",
        "s",
        {
            "p50": quantile(0.5, "parley_chat_store_prompt_delay_seconds"),
            "p99": quantile(0.99, "parley_chat_store_prompt_delay_seconds"),
        },
        "The age of a message when it is stored.",
    ),
    Panel(
        "Errors and repairs",
        "short",
        {
            "prompts refused": f"sum(increase(parley_gateway_publish_failures_total[{WINDOW}]))",
            "dead letters": f'sum(increase(parley_chat_store_events_total{{result="dead_letter"}}[{WINDOW}]))'
            f" + sum(increase(parley_llm_worker_dead_letters_total[{WINDOW}]))",
            "takeovers": f"sum(increase(parley_llm_worker_takeovers_total[{WINDOW}]))",
            "leases lost": f"sum(increase(parley_llm_worker_leases_lost_total[{WINDOW}]))",
            "swept": f"sum(increase(parley_chat_store_swept_total[{WINDOW}]))",
            "gaps": f"sum(increase(parley_push_gaps_total[{WINDOW}]))",
        },
    ),
]
GATEWAY = [
    Panel("Connections", "short", {"{{instance}}": "parley_gateway_connections"}),
    Panel(
        "Connections ended by a limit",
        "ops",
        {"{{reason}}": rate("parley_gateway_connections_ended_total", "reason")},
        "Closed by the server at a limit: too much data, too slow, or too many connections.",
    ),
    Panel("Requests", "reqps", {"{{status}}": rate("parley_gateway_requests_total", "status")}),
    Panel("Time to answer, p95", "s", {"{{route}}": quantile(0.95, "parley_gateway_request_seconds", "route")}),
    Panel(
        "Acknowledgement of a message",
        "s",
        {
            "p50": quantile(0.5, "parley_gateway_publish_seconds"),
            "p99": quantile(0.99, "parley_gateway_publish_seconds"),
        },
    ),
    Panel("Messages refused (503)", "ops", {"refused": rate("parley_gateway_publish_failures_total")}),
    Panel("Refused by a rate limit", "ops", {"{{limit}}": rate("parley_gateway_rate_limited_total", "limit")}),
    Panel(
        "Clock skew",
        "ops",
        {"{{kind}}": rate("parley_clock_skew_total", "kind")},
        "Tokens whose issuer's clock differs from the verifier's by more than ten seconds.",
    ),
    Panel("Sends without a check of limits", "ops", {"sends": rate("parley_gateway_unchecked_prompts_total")}),
    Panel(
        "Requests admitted by a cache",
        "ops",
        {
            "sends": rate("parley_gateway_stale_access_total"),
            "identities": rate("parley_gateway_stale_identities_total"),
        },
    ),
    Panel(
        "Sign-ins refused",
        "ops",
        {"{{method}} {{reason}}": rate("parley_gateway_refused_sign_ins_total", "method, reason")},
    ),
    Panel("Streams of events", "short", {"{{instance}}": "parley_gateway_streams"}),
    Panel(
        "Streams: frames and reconnects",
        "ops",
        {
            "frames": rate("parley_gateway_stream_frames_total"),
            "reconnects to another push": rate("parley_gateway_stream_reconnects_total"),
        },
    ),
]
CHAT_STORE = [
    Panel("Requests answered", "reqps", {"{{verb}}": rate("parley_chat_store_rpc_seconds_count", "verb")}),
    Panel("Time to answer, p95", "s", {"{{verb}}": quantile(0.95, "parley_chat_store_rpc_seconds", "verb")}),
    Panel("Refusals", "ops", {"{{code}}": rate('parley_chat_store_rpc_seconds_count{code!="ok"}', "code")}),
    Panel("Events", "ops", {"{{consumer}} {{result}}": rate("parley_chat_store_events_total", "consumer, result")}),
    Panel(
        "Events in a transaction, p95",
        "short",
        {"{{consumer}}": quantile(0.95, "parley_chat_store_batch_events", "consumer")},
    ),
    Panel(
        "Time of a transaction, p95",
        "s",
        {"{{consumer}}": quantile(0.95, "parley_chat_store_batch_seconds", "consumer")},
    ),
    Panel("Answers requested", "ops", {"stored": rate("parley_chat_store_requests_total")}),
    Panel("Oldest waiting answer", "s", {"{{instance}}": "parley_chat_store_oldest_request_seconds"}),
    Panel("Repairs of the sweeper", "ops", {"{{kind}}": rate("parley_chat_store_swept_total", "kind")}),
    Panel("Refused by a limit", "ops", {"{{limit}}": rate("parley_chat_store_refused_total", "limit")}),
    Panel("Leader", "short", {"{{instance}}": "parley_chat_store_leader"}),
]
LLM_WORKER = [
    Panel("Answers running", "short", {"{{instance}}": "parley_llm_worker_running_answers"}),
    Panel("Answers ended", "ops", {"{{outcome}}": rate("parley_llm_worker_answers_total", "outcome")}),
    Panel(
        "Attempts",
        "ops",
        {
            "attempts": rate("parley_llm_worker_attempts_total"),
            "takeovers": rate("parley_llm_worker_takeovers_total"),
        },
    ),
    Panel("Errors of the provider", "ops", {"{{code}}": rate("parley_llm_worker_provider_errors_total", "code")}),
    Panel(
        "Calls of tools",
        "ops",
        {"{{server}} {{outcome}}": rate("parley_llm_worker_tool_calls_total", "server, outcome")},
    ),
    Panel("Time of a call, p95", "s", {"{{server}}": quantile(0.95, "parley_llm_worker_tool_call_seconds", "server")}),
    Panel(
        "First token, p95", "s", {"{{instance}}": quantile(0.95, "parley_llm_worker_first_token_seconds", "instance")}
    ),
    Panel(
        "Tokens and deltas",
        "ops",
        {"tokens": rate("parley_llm_worker_tokens_total"), "deltas": rate("parley_llm_worker_deltas_total")},
        "One read, one delta: under load there are fewer deltas than tokens.",
    ),
    Panel(
        "Tokens by model",
        "ops",
        {"{{model}} {{direction}}": rate("parley_llm_worker_model_tokens_total", "model, direction")},
        "As the provider counts them. Models that it does not list are together under other.",
    ),
    Panel(
        "Wait for a worker",
        "s",
        {
            "p50": quantile(0.5, "parley_llm_worker_queue_seconds"),
            "p99": quantile(0.99, "parley_llm_worker_queue_seconds"),
        },
        "From the request for an answer to its first claim.",
    ),
    Panel(
        "Stop",
        "s",
        {
            "p50": quantile(0.5, "parley_llm_worker_stop_seconds"),
            "p99": quantile(0.99, "parley_llm_worker_stop_seconds"),
        },
        "From the signal to the closed connection to the provider.",
    ),
    Panel(
        "Lost and released",
        "ops",
        {
            "lease lost": rate("parley_llm_worker_leases_lost_total"),
            "released": rate("parley_llm_worker_handed_back_total"),
            "dead letters": rate("parley_llm_worker_dead_letters_total"),
        },
    ),
]
PUSH = [
    Panel("Sockets", "short", {"{{instance}}": "parley_push_sockets"}),
    Panel("Event streams among them", "short", {"{{instance}}": "parley_push_streams"}),
    Panel(
        "Subscriptions",
        "short",
        {"rooms, {{instance}}": "parley_push_rooms", "lists of chats, {{instance}}": "parley_push_lists"},
    ),
    Panel("Readers", "short", {"watching": "sum(parley_push_readers)", "lagging": "sum(parley_push_lagging_readers)"}),
    Panel(
        "Deltas in, frames out",
        "ops",
        {"deltas in": rate("parley_push_deltas_received_total"), "frames out": rate("parley_push_frames_sent_total")},
    ),
    Panel(
        "Added delay",
        "s",
        {
            "p50": quantile(0.5, "parley_push_added_delay_seconds"),
            "p95": quantile(0.95, "parley_push_added_delay_seconds"),
            "p99": quantile(0.99, "parley_push_added_delay_seconds"),
        },
        "Between machines it includes the difference of their clocks.",
    ),
    Panel("Bytes out", "Bps", {"{{instance}}": rate("parley_push_sent_bytes_total", "instance")}),
    Panel("Gaps", "ops", {"missed deltas": rate("parley_push_gaps_total")}),
    Panel("Requests", "reqps", {"{{request}} {{outcome}}": rate("parley_push_requests_total", "request, outcome")}),
    Panel("Sockets closed", "ops", {"{{code}}": rate("parley_push_sockets_closed_total", "code")}),
]
BUS = [
    Panel("Messages stored", "short", {"{{stream_name}}": "max by (stream_name) (jetstream_stream_total_messages)"}),
    Panel("Bytes stored", "bytes", {"{{stream_name}}": "max by (stream_name) (jetstream_stream_total_bytes)"}),
    Panel("Waiting", "short", {"{{consumer_name}}": "max by (consumer_name) (jetstream_consumer_num_pending)"}),
    Panel(
        "Not acknowledged yet",
        "short",
        {"{{consumer_name}}": "max by (consumer_name) (jetstream_consumer_num_ack_pending)"},
    ),
    Panel("Redelivered", "short", {"{{consumer_name}}": "max by (consumer_name) (jetstream_consumer_num_redelivered)"}),
]
PROCESSES = [
    Panel(
        "CPU",
        "short",
        {"{{job}} {{instance}}": f'rate(process_cpu_seconds_total{{job=~"parley.*"}}[{WINDOW}])'},
    ),
    Panel(
        "Memory",
        "bytes",
        {"{{job}} {{instance}}": 'process_resident_memory_bytes{job=~"parley.*"}'},
    ),
    Panel(
        "Open files",
        "short",
        {"{{job}} {{instance}}": 'process_open_fds{job=~"parley.*"}'},
    ),
]
DASHBOARDS = {
    "overview": ("Parley: overview", [*OVERVIEW, *PROCESSES]),
    "gateway": ("Parley: gateway", GATEWAY),
    "chat-store": ("Parley: chat-store", CHAT_STORE),
    "llm-worker": ("Parley: llm-worker", LLM_WORKER),
    "push": ("Parley: push", PUSH),
    "bus": ("Parley: bus", BUS),
}


def dashboard(name: str) -> dict[str, Any]:
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"parley-{name}",
        "title": title,
        "tags": ["parley"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["parley"], "title": "Parley", "asDropdown": True}],
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${source}"}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": source,
        "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "custom": {"fillOpacity": 10, "showPoints": "never"}},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": source, "expr": query, "legendFormat": legend}
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def render(name: str) -> str:
    return json.dumps(dashboard(name), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for each in DASHBOARDS:
        (TARGET / f"{each}.json").write_text(render(each))
