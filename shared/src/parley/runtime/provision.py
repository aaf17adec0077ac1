"""The one place that creates streams and durable consumers. Run by ``parley migrate``, before any service."""

import dataclasses
from typing import Any

import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext, api

from parley.contracts.streams import CONSUMERS, LLM_WORKER_REQUESTS, STREAMS, ConsumerSpec, StreamSpec

_STREAM_FIELDS = ("subjects", "retention", "storage", "max_age", "max_msgs_per_subject", "duplicate_window")
_CONSUMER_FIELDS = ("filter_subject", "ack_policy", "max_deliver", "max_ack_pending")
# What each installation chooses for itself.
_CHOSEN_STREAM_FIELDS = ("num_replicas",)
_CHOSEN_CONSUMER_FIELDS = ("ack_wait",)


class Differs(Exception):
    """A stream or consumer exists with other settings. It is reported, never altered."""


async def provision(nc: Client, *, replicas: int = 1, ack_wait: float | None = None) -> list[str]:
    """Create what is missing and return its names; done again, nothing happens.

    Args:
        replicas: Of each stream: 1 on a single server, 3 on a cluster.
        ack_wait: Seconds without a sign of life after which a running answer is given to another worker;
            the default is that of :data:`LLM_WORKER_REQUESTS`.

    Raises:
        Differs: something exists with other settings; says which, and what to do.
    """
    js = nc.jetstream(timeout=10)
    created = []
    for stream in STREAMS:
        if await _ensure_stream(js, stream, replicas):
            created.append(stream.name)
    for consumer in CONSUMERS:
        spec = consumer
        if consumer is LLM_WORKER_REQUESTS and ack_wait is not None:
            spec = dataclasses.replace(consumer, ack_wait=ack_wait)
        if await _ensure_consumer(js, spec):
            created.append(spec.name)
    return created


async def inspect(
    nc: Client, *, streams: tuple[StreamSpec, ...] = STREAMS, consumers: tuple[ConsumerSpec, ...] = CONSUMERS
) -> list[str]:
    """Return what is missing or differs, a sentence each, and change nothing.

    The number of copies and ``ack_wait`` are not compared: each installation chooses them.
    """
    js = nc.jetstream(timeout=5)
    found = []
    for stream in streams:
        try:
            stream_config = (await js.stream_info(stream.name)).config
        except nats.js.errors.NotFoundError:
            found.append(f"The stream {stream.name} does not exist.")
            continue
        found += _differences(f"stream {stream.name}", _stream_config(stream, 1), stream_config, _STREAM_FIELDS)
    for consumer in consumers:
        try:
            consumer_config = (await js.consumer_info(consumer.stream, consumer.name)).config
        except nats.js.errors.NotFoundError:
            found.append(f"The consumer {consumer.name} of {consumer.stream} does not exist.")
            continue
        what = f"consumer {consumer.name} of {consumer.stream}"
        found += _differences(what, _consumer_config(consumer), consumer_config, _CONSUMER_FIELDS)
    return found


async def _ensure_stream(js: JetStreamContext, spec: StreamSpec, replicas: int) -> bool:
    wanted = _stream_config(spec, replicas)
    try:
        existing = (await js.stream_info(spec.name)).config
    except nats.js.errors.NotFoundError:
        await js.add_stream(wanted)
        return True
    _require_same(f"stream {spec.name}", wanted, existing, (*_STREAM_FIELDS, *_CHOSEN_STREAM_FIELDS))
    return False


async def _ensure_consumer(js: JetStreamContext, spec: ConsumerSpec) -> bool:
    wanted = _consumer_config(spec)
    try:
        existing = (await js.consumer_info(spec.stream, spec.name)).config
    except nats.js.errors.NotFoundError:
        await js.add_consumer(spec.stream, wanted)
        return True
    what = f"consumer {spec.name} of {spec.stream}"
    _require_same(what, wanted, existing, (*_CONSUMER_FIELDS, *_CHOSEN_CONSUMER_FIELDS))
    return False


def _stream_config(spec: StreamSpec, replicas: int) -> api.StreamConfig:
    return api.StreamConfig(
        name=spec.name,
        description=spec.description,
        subjects=list(spec.subjects),
        retention=api.RetentionPolicy.LIMITS,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.OLD,
        max_age=spec.max_age,
        max_bytes=spec.max_bytes,
        max_msgs_per_subject=spec.max_msgs_per_subject,
        duplicate_window=spec.duplicate_window,
        num_replicas=replicas,
        # The server takes asynchronous persistence only where it keeps a single copy.
        persist_mode=api.PersistMode.ASYNC if spec.persist == "async" and replicas == 1 else None,
    )


def _consumer_config(spec: ConsumerSpec) -> api.ConsumerConfig:
    return api.ConsumerConfig(
        durable_name=spec.name,
        description=spec.description,
        filter_subject=spec.filter_subject,
        ack_policy=api.AckPolicy.EXPLICIT,
        deliver_policy=api.DeliverPolicy.ALL,
        ack_wait=spec.ack_wait,
        max_deliver=spec.max_deliver,
        max_ack_pending=spec.max_ack_pending,
    )


def _require_same(what: str, wanted: Any, existing: Any, fields: tuple[str, ...]) -> None:
    for difference in _differences(what, wanted, existing, fields):
        raise Differs(
            f"{difference} Parley does not alter it: change it with the nats command, or set Parley to what it is."
        )


def _differences(what: str, wanted: Any, existing: Any, fields: tuple[str, ...]) -> list[str]:
    """At most one sentence."""
    differences = [
        f"{field} is {getattr(existing, field)!r}, wanted {getattr(wanted, field)!r}"
        for field in fields
        if getattr(existing, field) != getattr(wanted, field)
    ]
    return [f"The {what} exists with other settings: {'; '.join(differences)}."] if differences else []
