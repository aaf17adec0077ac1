"""Builds llm-worker from its settings and runs it."""

import asyncio
import logging
import os
import socket
from typing import Final

from nats.aio.client import Client
from nats.js import JetStreamContext

from llm_worker.errors import ConnectionClosed
from llm_worker.generation.claims import Claims
from llm_worker.generation.dependencies import Dependencies
from llm_worker.generation.live import CorePublisher
from llm_worker.generation.segments import SegmentInterval
from llm_worker.jobs.ownership import OwnedGenerations
from llm_worker.jobs.slots import Slots
from llm_worker.provider.client import Provider
from llm_worker.provider.models import OPENAI_DEFAULT, Models
from llm_worker.settings import WorkerSettings
from llm_worker.tools.toolbox import ToolServers
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

_NEEDS: Final = Needs(
    streams=(CHAT, SEGMENTS, DEAD_LETTERS),
    consumers=(LLM_WORKER_REQUESTS,),
    publishes=(subjects.generation_finished(jetstream.NOBODY), subjects.generation_segment(jetstream.NOBODY)),
)
_SPARE_CONNECTIONS: Final = 8
_MAX_FETCH_SECONDS: Final = 5.0
_RETRY_INTERVAL: Final = 0.25
_CONSUMERS: Final = 8
"""Requests that are fetched at once: the start of one answer must not delay the next one's."""


async def run(settings: WorkerSettings, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set.

    Raises:
        NotProvisioned: a stream or the consumer is missing.
        ConnectionClosed: NATS closed the connection for good.
        CannotListen: HEALTH_PORT is taken.
    """
    await _Worker(settings, stop).run()


class _Worker:
    """The process: owns the connection to NATS, the provider's client, and every task."""

    def __init__(self, settings: WorkerSettings, stop: asyncio.Event) -> None:
        self._settings = settings
        self._stop = stop
        key = settings.openai_api_key
        self._provider = Provider(
            base_url=settings.openai_base_url,
            api_key=key.get_secret_value() if key is not None else None,
            connections=settings.max_generations + _SPARE_CONNECTIONS,
            connect_timeout=settings.connect_timeout,
        )
        self._models = Models(self._provider.list_models, chosen=_default_model(settings), unlisted=settings.any_model)
        self._tools = ToolServers(settings.tool_servers)
        self._readiness = Readiness({"jetstream": self._check_jetstream})
        self._nc: Client | None = None
        self._consumers: list[PullConsumer] = []
        self._closing = False
        self._closed_by_nats = False

    async def run(self) -> None:
        health = HealthServer(self._settings.health_host, self._settings.health_port, self._problems)
        async with health, self._provider, self._tools:
            nc = self._nc = await tasks.unless(self._stop, self._connect())
            if nc is None:
                return
            background = [asyncio.create_task(self._readiness.watch(), name="readiness")]
            try:
                ack_wait = await tasks.unless(self._stop, self._require_streams(nc.jetstream()))
                if ack_wait is not None:
                    background.append(asyncio.create_task(self._models.load(), name="models"))
                    background.append(asyncio.create_task(self._tools.load(), name="tools"))
                    await self._serve(nc, ack_wait)
            finally:
                self._closing = True
                await tasks.end(*background)
                await _close(nc)
        if self._closed_by_nats:
            raise ConnectionClosed("NATS has closed the connection for good; check NATS_URL and its password.")

    async def _connect(self) -> Client:
        return await connect(
            self._settings.nats_url, name="llm-worker", on_closed=self._on_closed, on_reconnected=self._on_reconnected
        )

    async def _serve(self, nc: Client, ack_wait: float) -> None:
        dependencies = Dependencies(
            nc=nc,
            js=nc.jetstream(),
            core=CorePublisher(nc),
            segments=SegmentInterval(),
            claims=Claims(nc, worker_id=f"{socket.gethostname()}:{os.getpid()}"),
            provider=self._provider,
            models=self._models,
            tools=self._tools,
            settings=self._settings,
        )
        owned = OwnedGenerations(nc)
        await owned.serve()
        await self._models.serve(nc)
        expires = min(_MAX_FETCH_SECONDS, ack_wait / 3)
        self._consumers += [
            PullConsumer(nc, LLM_WORKER_REQUESTS, prefetch=False, expires=expires) for _ in range(_CONSUMERS)
        ]
        log.info("Making up to %d answers at once", self._settings.max_generations)
        await Slots(dependencies, owned, self._consumers, ack_wait=ack_wait).run(self._stop)

    async def _on_closed(self) -> None:
        if not self._closing:
            self._closed_by_nats = True
            self._stop.set()

    async def _on_reconnected(self) -> None:
        for consumer in self._consumers:
            consumer.renew()

    async def _problems(self) -> dict[str, str]:
        if self._nc is None or not self._nc.is_connected:
            return {"nats": "NATS is not connected."}
        if not self._consumers:
            return {"worker": "It is starting."}
        return {"worker": "It is stopping."} if self._stop.is_set() else self._readiness.problems

    async def _check_jetstream(self) -> str | None:
        return None if self._nc is None else await jetstream.check(self._nc, _NEEDS)

    async def _require_streams(self, js: JetStreamContext) -> float:
        """Check the streams and the consumer, and return the consumer's ``ack_wait`` in seconds.

        Raises:
            NotProvisioned
        """
        await require(js, streams=_NEEDS.streams, consumers=_NEEDS.consumers, wait=self._settings.migration_wait)
        while True:
            try:
                config = (await js.consumer_info(LLM_WORKER_REQUESTS.stream, LLM_WORKER_REQUESTS.name)).config
                return config.ack_wait or LLM_WORKER_REQUESTS.ack_wait
            except TRANSIENT_ERRORS as error:
                log.debug("Retrying to read the consumer: %r", error)
            await asyncio.sleep(_RETRY_INTERVAL)


async def _close(nc: Client) -> None:
    """Close the connection, while connected after everything published is sent."""
    try:
        if nc.is_connected:
            await nc.drain()
        else:
            await nc.close()
    except TRANSIENT_ERRORS as error:
        log.debug("Closing the connection to NATS: %r", error)


def _default_model(settings: WorkerSettings) -> str | None:
    """The model of chats that name none; None: the first that the provider lists."""
    if settings.model is not None:
        return settings.model
    return OPENAI_DEFAULT if settings.openai_base_url is None else None
