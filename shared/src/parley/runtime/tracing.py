"""Traces: one per prompt, from the caller's request through the bus to the provider and to the first token pushed.

Off unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` (OTLP over HTTP) or ``TRACES_FILE`` (a JSON object per line, for a look
without a collector) is set; then OpenTelemetry is imported and set up, and otherwise nothing of it is. The context
travels as W3C ``traceparent``, in the headers of NATS messages. Spans name subjects by template, never by chat.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Headers = Mapping[str, str]

TRACEPARENT = "traceparent"


class Span:
    """A span in progress. This one, of a process that is not traced, ignores what it is told."""

    def set_attribute(self, key: str, value: Any) -> None:
        pass

    def add_event(self, name: str) -> None:
        pass

    def fail(self, reason: str) -> None:
        pass


_NO_SPAN = Span()
_tracer: Any = None
_provider: Any = None


def setup(service: str) -> None:
    """Begin to trace this process, when the environment asks for it. Called once, by ``__main__``."""
    endpoint, file = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"), os.environ.get("TRACES_FILE")
    if not endpoint and not file:
        return
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor

    global _tracer, _provider
    _provider = TracerProvider(resource=Resource.create({"service.name": service, "service.namespace": "parley"}))
    if endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    if file:
        # Several processes append to the file: one line, one write. It stays open as long as the process.
        out = open(file, "a", encoding="utf-8")  # noqa: SIM115
        exporter = ConsoleSpanExporter(out=out, formatter=lambda span: span.to_json(indent=None) + "\n")
        _provider.add_span_processor(SimpleSpanProcessor(exporter))
    _tracer = _provider.get_tracer("parley")


def shutdown() -> None:
    """Export the buffered spans. Called once, at the end of the process."""
    if _provider is not None:
        _provider.shutdown()


def inject() -> dict[str, str]:
    """Return the headers that carry the current span; empty when there is none."""
    if _tracer is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier


def current_ids() -> tuple[str, str] | None:
    """Return the ids of the current trace and span, in hexadecimal; None when there is none."""
    if _tracer is None:
        return None
    from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

    context = get_current_span().get_span_context()
    return (format_trace_id(context.trace_id), format_span_id(context.span_id)) if context.is_valid else None


@contextlib.contextmanager
def span(
    name: str,
    *,
    kind: Kind = "internal",
    parent: Headers | None = None,
    attributes: Mapping[str, Any] | None = None,
    began_at: int | None = None,
) -> Iterator[Span]:
    """Trace what happens inside ``with``; an exception that leaves it marks the span as failed, with its type only:
    its words may be a user's.

    Args:
        parent: Headers of the message or request that caused it. Without a ``traceparent`` in them, the span
            belongs to the one around it.
        began_at: ``time.time_ns()`` of when it began, if that was before now.
    """
    if _tracer is None:
        yield _NO_SPAN
        return
    from opentelemetry.trace import SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = None
    if parent and TRACEPARENT in parent:
        context = TraceContextTextMapPropagator().extract({TRACEPARENT: parent[TRACEPARENT]})
    with _tracer.start_as_current_span(
        name,
        context=context,
        kind=SpanKind[kind.upper()],
        attributes=dict(attributes or {}),
        start_time=began_at,
        record_exception=False,
        set_status_on_exception=False,
    ) as started:
        started.fail = lambda reason: started.set_status(Status(StatusCode.ERROR, reason))
        try:
            yield started
        except Exception as error:
            started.fail(type(error).__name__)
            raise
