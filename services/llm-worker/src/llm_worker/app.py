"""The composition root: builds everything, and is the only place that does."""

import asyncio
import logging
import os
import socket

from nats.aio.client import Client
from nats.js import JetStreamContext

from llm_worker.errors import ConnectionClosed
from llm_worker.generation.generation import Workbench
from llm_worker.generation.publishing import Wire
from llm_worker.generation.segments import SegmentPace
from llm_worker.jobs.ownership import Owners
from llm_worker.jobs.slots import Slots
from llm_worker.provider.client import Provider
from llm_worker.provider.models import OPENAI_DEFAULT, Models
from llm_worker.settings import WorkerSettings
from llm_worker.store_client import StoreClient
from parley.contracts import subjects
from parley.contracts.streams import CHAT, DEAD_LETTERS, LLM_WORKER_REQUESTS, SEGMENTS
from parley.runtime import tasks
from parley.runtime.health import HealthServer
from parley.runtime.nats import jetstream
from parley.runtime.nats.connect import connect
from parley.runtime.nats.errors import TRANSIENT_ERRORS
from parley.runtime.nats.jetstream import Needs
from parley.runtime.nats.pull import PullConsumer
from parley.runtime.nats.requirements import require
from parley.runtime.readiness import Readiness

log = logging.getLogger(__name__)

_NEEDS = Needs(
    streams=(CHAT, SEGMENTS, DEAD_LETTERS),
    consumers=(LLM_WORKER_REQUESTS,),
    publishes=(subjects.generation_finished(jetstream.NOBODY), subjects.generation_segment(jetstream.NOBODY)),
)
_SPARE_CONNECTIONS = 8
_LONGEST_PULL = 5.0
_LOOK_AGAIN = 0.25
_PULLS = 8
"""Requests that may be asked for at once: what one answer needs to start must not hold up the next one's."""


async def run(settings: WorkerSettings, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set.

    Raises:
        NotProvisioned: a stream or the consumer is missing.
        ConnectionClosed: NATS refuses us.
        CannotListen: HEALTH_PORT is taken.
    """
    provider = Provider(
        base_url=settings.openai_base_url,
        api_key=settings.openai_api_key.get_secret_value() if settings.openai_api_key is not None else None,
        connections=settings.max_generations + _SPARE_CONNECTIONS,
        connect_timeout=settings.connect_timeout,
    )
    pulls: list[PullConsumer] = []
    leaving = refused = False

    async def on_closed() -> None:
        nonlocal refused
        if not leaving:
            refused = True
            stop.set()

    async def on_reconnected() -> None:
        for pull in pulls:
            pull.renew()

    nc: Client | None = None

    async def jetstream_problem() -> str | None:
        return None if nc is None else await jetstream.check(nc, _NEEDS)

    readiness = Readiness({"jetstream": jetstream_problem})

    async def ready() -> dict[str, str]:
        if nc is None or not nc.is_connected:
            return {"nats": "NATS is not connected."}
        if not pulls:
            return {"worker": "It is starting."}
        return {"worker": "It is stopping."} if stop.is_set() else readiness.problems

    async with HealthServer(settings.health_host, settings.health_port, ready), provider:
        nc = await tasks.unless(
            stop,
            connect(settings.nats_url, name="llm-worker", on_closed=on_closed, on_reconnected=on_reconnected),
        )
        if nc is None:
            return
        learning: asyncio.Task[None] | None = None
        watching = asyncio.create_task(readiness.watch(), name="readiness")
        try:
            js = nc.jetstream()
            ack_wait = await tasks.unless(stop, _checked(js, settings.migration_wait))
            if ack_wait is None:
                return
            store = StoreClient(nc, worker_id=f"{socket.gethostname()}:{os.getpid()}")
            models = Models(provider.list_models, chosen=_default_model(settings), unlisted=settings.any_model)
            bench = Workbench(
                nc=nc,
                js=js,
                wire=Wire(nc),
                segments=SegmentPace(),
                store=store,
                provider=provider,
                models=models,
                settings=settings,
            )
            owners = Owners(nc)
            await owners.serve()
            await models.serve(nc)
            learning = asyncio.create_task(models.learn())
            expires = min(_LONGEST_PULL, ack_wait / 3)
            pulls += [PullConsumer(nc, LLM_WORKER_REQUESTS, prefetch=False, expires=expires) for _ in range(_PULLS)]
            log.info("Taking requests, up to %d at once", settings.max_generations)
            await Slots(bench, owners, pulls, ack_wait=ack_wait).run(stop)
        finally:
            leaving = True
            if learning is not None:
                await tasks.end(learning)
            await tasks.end(watching)
            await _leave(nc)
    if refused:
        raise ConnectionClosed("NATS has closed the connection for good; look at NATS_URL and its password.")


async def _leave(nc: Client) -> None:
    """Close the connection once everything published is out, or at once when it cannot go out."""
    try:
        if nc.is_connected:
            await nc.drain()
        else:
            await nc.close()
    except TRANSIENT_ERRORS as error:
        log.debug("Leaving NATS: %r", error)


def _default_model(settings: WorkerSettings) -> str | None:
    """The model for chats that name none; None: the first that the provider lists."""
    if settings.model is not None:
        return settings.model
    return OPENAI_DEFAULT if settings.openai_base_url is None else None


async def _checked(js: JetStreamContext, migration_wait: float) -> float:
    """Check that what we bind to is there, and return the consumer's ``ack_wait`` in seconds.

    Raises:
        NotProvisioned
    """
    await require(js, streams=_NEEDS.streams, consumers=_NEEDS.consumers, wait=migration_wait)
    while True:
        try:
            config = (await js.consumer_info(LLM_WORKER_REQUESTS.stream, LLM_WORKER_REQUESTS.name)).config
            return config.ack_wait or LLM_WORKER_REQUESTS.ack_wait
        except TRANSIENT_ERRORS as error:
            log.debug("The consumer cannot be looked at yet: %r", error)
        await asyncio.sleep(_LOOK_AGAIN)
