"""The one place that creates streams and durable consumers. Run by ``parley migrate``, before any service."""

import dataclasses
from typing import Any

import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext, api

from parley.contracts.streams import CONSUMERS, LLM_WORKER_REQUESTS, STREAMS, ConsumerSpec, StreamSpec


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


async def _ensure_stream(js: JetStreamContext, spec: StreamSpec, replicas: int) -> bool:
    wanted = api.StreamConfig(
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
    try:
        existing = (await js.stream_info(spec.name)).config
    except nats.js.errors.NotFoundError:
        await js.add_stream(wanted)
        return True
    _compare(
        f"stream {spec.name}",
        wanted,
        existing,
        (
            "subjects",
            "retention",
            "storage",
            "max_age",
            "max_msgs_per_subject",
            "duplicate_window",
            "num_replicas",
        ),
    )
    return False


async def _ensure_consumer(js: JetStreamContext, spec: ConsumerSpec) -> bool:
    wanted = api.ConsumerConfig(
        durable_name=spec.name,
        description=spec.description,
        filter_subject=spec.filter_subject,
        ack_policy=api.AckPolicy.EXPLICIT,
        deliver_policy=api.DeliverPolicy.ALL,
        ack_wait=spec.ack_wait,
        max_deliver=spec.max_deliver,
        max_ack_pending=spec.max_ack_pending,
    )
    try:
        existing = (await js.consumer_info(spec.stream, spec.name)).config
    except nats.js.errors.NotFoundError:
        await js.add_consumer(spec.stream, wanted)
        return True
    _compare(
        f"consumer {spec.name} of {spec.stream}",
        wanted,
        existing,
        ("filter_subject", "ack_policy", "ack_wait", "max_deliver", "max_ack_pending"),
    )
    return False


def _compare(what: str, wanted: Any, existing: Any, fields: tuple[str, ...]) -> None:
    differences = [
        f"{field} is {getattr(existing, field)!r}, wanted {getattr(wanted, field)!r}"
        for field in fields
        if getattr(existing, field) != getattr(wanted, field)
    ]
    if differences:
        raise Differs(
            f"The {what} exists with other settings: {'; '.join(differences)}. "
            "Parley does not alter it: change it with the nats command, or set Parley to what it is."
        )
