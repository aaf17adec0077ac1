"""The one place that creates streams and durable consumers. Run by ``parley migrate``, before any service.

What exists is compared field by field. Each installation may choose for itself what loses nothing: limits of a stream
that refuses at its limit, a longer time to keep, more copies, ``ack_wait``. What differs in another way is mended where
nothing can be lost by that, and reported where it could.
"""

import asyncio
import dataclasses
import functools
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext, api

from parley.contracts.streams import CONSUMERS, LLM_WORKER_REQUESTS, STREAMS, ConsumerSpec, StreamSpec
from parley.runtime.readiness import OutageLog

log = logging.getLogger(__name__)

_NO_SUITABLE_PEERS: Final = 10005
"""The server's error code where too few of a cluster's servers are known yet."""

_CREATE_AGAIN: Final = 0.5


class Differs(Exception):
    """A stream or consumer exists with other settings, which Parley does not change. The message names the fix."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as declared: a sentence, and whether ``parley migrate`` mends it."""

    text: str
    mends: bool


@dataclass(frozen=True, kw_only=True)
class _Field:
    """A field that is compared.

    Attributes:
        fits: Whether what exists will do where ``wanted`` is declared.
        mends: Whether what exists can be set to what is declared without losing a message.
        chosen: Whether it is a setting of ``migrate``, and so compared by that alone.
    """

    name: str
    fits: Callable[[Any, Any], bool]
    mends: Callable[[Any, Any], bool] = lambda _existing, _wanted: True
    chosen: bool = False


def _same(existing: Any, wanted: Any) -> bool:
    return (existing or None) == (wanted or None)


def _no_less(existing: Any, wanted: Any) -> bool:
    """Of a limit; 0, -1 and nothing are "no limit"."""
    return _limit(existing) >= _limit(wanted)


def _limit(value: float | None) -> float:
    return value if value is not None and value > 0 else float("inf")


def _same_members(existing: Any, wanted: Any) -> bool:
    return set(existing or ()) == set(wanted or ())


def _has_no_others(existing: Any, wanted: Any) -> bool:
    return set(existing or ()) <= set(wanted or ())


def _never(_existing: Any, _wanted: Any) -> bool:
    return False


_STREAM: Final = (
    _Field(name="subjects", fits=_same_members, mends=_has_no_others),
    _Field(name="retention", fits=_same, mends=_never),
    _Field(name="storage", fits=_same, mends=_never),
    _Field(name="discard", fits=_same),
    _Field(name="max_consumers", fits=_no_less, mends=_never),
    _Field(name="max_age", fits=_no_less),
    _Field(name="max_msg_size", fits=_no_less),
    _Field(name="max_msgs_per_subject", fits=_no_less),
    _Field(name="discard_new_per_subject", fits=_same),
    _Field(name="duplicate_window", fits=_no_less),
    _Field(name="no_ack", fits=_same, mends=_never),
    _Field(name="sealed", fits=_same, mends=_never),
    _Field(name="mirror", fits=_same, mends=_never),
    _Field(name="sources", fits=_same, mends=_never),
    _Field(name="subject_transform", fits=_same, mends=_never),
    _Field(name="num_replicas", fits=_same, mends=_never, chosen=True),
)
_LIMITS: Final = (_Field(name="max_msgs", fits=_no_less), _Field(name="max_bytes", fits=_no_less))
"""Each installation's own, but for a stream that drops what is old at them."""

_CONSUMER: Final = (
    _Field(name="filter_subject", fits=_same, mends=_never),
    _Field(name="filter_subjects", fits=_same, mends=_never),
    _Field(name="ack_policy", fits=_same, mends=_never),
    _Field(name="deliver_policy", fits=_same, mends=_never),
    _Field(name="deliver_subject", fits=_same, mends=_never),
    _Field(name="replay_policy", fits=_same, mends=_never),
    _Field(name="max_deliver", fits=_same),
    _Field(name="max_ack_pending", fits=_no_less),
    _Field(name="backoff", fits=_same),
    _Field(name="headers_only", fits=_same),
    _Field(name="inactive_threshold", fits=_same),
    _Field(name="pause_until", fits=_same, mends=_never),
    _Field(name="ack_wait", fits=_same, mends=_never, chosen=True),
)


async def provision(nc: Client, *, replicas: int = 1, ack_wait: float | None = None) -> list[str]:
    """Create what is missing, mend what differs, and return what was done; done again, nothing happens.

    Waits, without a limit of its own, for the servers of a cluster that has just started.

    Returns:
        The name of each that was created, and a sentence about each difference that was mended.

    Args:
        replicas: Of each stream: 1 on a single server, 3 on a cluster.
        ack_wait: Seconds without a sign of life after which a running answer is given to another worker;
            the default is that of :data:`LLM_WORKER_REQUESTS`.

    Raises:
        Differs: something exists with settings that are not changed here; the message names them and the fix. Nothing
            is changed then.
    """
    wanted = _declared(nc.jetstream(timeout=10), replicas=replicas, ack_wait=ack_wait)
    for one in wanted:
        for finding in one.findings(await one.existing(), chosen=True):
            if not finding.mends:
                raise Differs(f"{finding.text} Change that with the nats command; nothing was changed.")
    done = []
    for one in wanted:
        existing = await one.existing()
        if existing is None:
            await _create(one)
            done.append(one.name)
        elif findings := one.findings(existing, chosen=True):
            await one.update(one.mended(existing))
            done += [finding.text for finding in findings]
    return done


async def _create(one: "_Declared") -> None:
    outage = OutageLog(log, f"The {one.what} can be created")
    while True:
        try:
            await one.create(one.wanted)
        except nats.js.errors.APIError as error:
            if error.err_code != _NO_SUITABLE_PEERS:
                raise
            outage.report(f"The {one.what} cannot be created yet: {error.description}")
        else:
            outage.end()
            return
        await asyncio.sleep(_CREATE_AGAIN)


async def inspect(nc: Client) -> list[Finding]:
    """Return what is missing or differs, and change nothing.

    The number of copies and ``ack_wait`` are not compared: each installation chooses them.
    """
    found: list[Finding] = []
    for one in _declared(nc.jetstream(timeout=5)):
        existing = await one.existing()
        if existing is None:
            found.append(Finding(f"The {one.what} does not exist.", True))
        else:
            found += one.findings(existing, chosen=False)
    return found


@dataclass(frozen=True, kw_only=True)
class _Declared:
    """A stream or a consumer as it is declared.

    Attributes:
        wanted: The declared configuration; ``existing`` is the one on the server.
        info: Asks the server for it.
        create, update: Send the server a configuration.
    """

    name: str
    what: str
    fields: tuple[_Field, ...]
    wanted: Any
    info: Callable[[], Awaitable[Any]]
    create: Callable[[Any], Awaitable[object]]
    update: Callable[[Any], Awaitable[object]]

    async def existing(self) -> Any | None:
        try:
            return (await self.info()).config
        except nats.js.errors.NotFoundError:
            return None

    def findings(self, existing: Any | None, *, chosen: bool) -> list[Finding]:
        return [
            Finding(
                f"The {self.what} exists with other settings: {field.name} is {_shown(current)}, "
                f"wanted {_shown(wanted)}.",
                field.mends(current, wanted),
            )
            for field, current, wanted in self._differences(existing)
            if chosen or not field.chosen
        ]

    def mended(self, existing: Any) -> Any:
        """Return what exists, with what is declared where it differs: what an installation chose for itself stays."""
        return dataclasses.replace(existing, **{field.name: wanted for field, _, wanted in self._differences(existing)})

    def _differences(self, existing: Any | None) -> Iterator[tuple[_Field, Any, Any]]:
        for field in self.fields if existing is not None else ():
            current, wanted = getattr(existing, field.name), getattr(self.wanted, field.name)
            if not field.fits(current, wanted):
                yield field, current, wanted


def _declared(js: JetStreamContext, *, replicas: int = 1, ack_wait: float | None = None) -> list[_Declared]:
    return [
        *(_stream(js, stream, replicas) for stream in STREAMS),
        *(_consumer(js, consumer, ack_wait if consumer is LLM_WORKER_REQUESTS else None) for consumer in CONSUMERS),
    ]


def _stream(js: JetStreamContext, spec: StreamSpec, replicas: int) -> _Declared:
    return _Declared(
        name=spec.name,
        what=f"stream {spec.name}",
        fields=_STREAM if spec.discard == "new" else (*_STREAM, *_LIMITS),
        wanted=api.StreamConfig(
            name=spec.name,
            description=spec.description,
            subjects=list(spec.subjects),
            retention=api.RetentionPolicy.LIMITS,
            storage=api.StorageType.FILE,
            discard=api.DiscardPolicy.NEW if spec.discard == "new" else api.DiscardPolicy.OLD,
            max_age=spec.max_age,
            max_bytes=-1,
            max_msgs_per_subject=spec.max_msgs_per_subject,
            duplicate_window=spec.duplicate_window,
            num_replicas=replicas,
            # The server takes asynchronous persistence only where it keeps a single copy.
            persist_mode=api.PersistMode.ASYNC if spec.persist == "async" and replicas == 1 else None,
        ),
        info=functools.partial(js.stream_info, spec.name),
        create=js.add_stream,
        update=js.update_stream,
    )


def _consumer(js: JetStreamContext, spec: ConsumerSpec, ack_wait: float | None) -> _Declared:
    # The server takes the creation of one that exists as an update.
    put = functools.partial(js.add_consumer, spec.stream)
    return _Declared(
        name=spec.name,
        what=f"consumer {spec.name} of {spec.stream}",
        fields=_CONSUMER,
        wanted=api.ConsumerConfig(
            durable_name=spec.name,
            description=spec.description,
            filter_subject=spec.filter_subject,
            ack_policy=api.AckPolicy.EXPLICIT,
            deliver_policy=api.DeliverPolicy.ALL,
            ack_wait=ack_wait or spec.ack_wait,
            max_deliver=spec.max_deliver,
            max_ack_pending=spec.max_ack_pending,
        ),
        info=functools.partial(js.consumer_info, spec.stream, spec.name),
        create=put,
        update=put,
    )


def _shown(value: Any) -> str:
    return "not set" if value is None else str(getattr(value, "value", value))
