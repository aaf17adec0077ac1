"""NATS: that it answers, keeps what it must, and lets each user do its part and no more."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from parley.contracts.permissions import USERS, UserPermissions
from parley.contracts.streams import CHAT, CONSUMERS, DEAD_LETTERS, STREAMS
from parley.runtime.nats import jetstream, provision
from parley.runtime.nats.connect import wait_until_processed
from parley.runtime.nats.errors import TRANSIENT_ERRORS
from parley_cli.doctor.clock import Clock, compare
from parley_cli.doctor.report import Report
from parley_cli.doctor.target import Patient
from parley_cli.servers import ServerTrouble, nats_client, without_password

_TIMEOUT: Final = 3.0
_MIN_PAYLOAD: Final = 1024 * 1024
_USERS: Final = {user.user: user for user in USERS}
_REFUSED: Final = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"', re.I)
_SAFE: Final = re.compile(r"(chat|live|ctl|rpc|dead)\.|\$JS\.API\.(STREAM|CONSUMER)\.INFO\.[^>]+$")
"""What may be tried without any effect."""
_NOT_STORED: Final = {"Nats-Expected-Stream": "parley-doctor"}
"""A stream refuses to store what is meant for another one."""

_RENDER = "Render the server's users anew (deploy/nats/README.md) and let it read them: nats-server --signal reload"
_MIGRATE = "Run `parley migrate`."


class _Info(msgspec.Struct):
    ts: datetime | None = None


async def check(patient: Patient, clock: Clock) -> Report:
    report = Report("nats")
    if not patient.nats_url:
        report.note("NATS_URL is not set and no stack runs here.", "`parley up` starts a NATS of its own.")
        return report
    refused: list[str] = []
    async with _connected(report, patient.nats_url, refused) as nc:
        if nc is not None:
            await _examine(report, nc, patient, refused, clock)
    if patient.secrets is not None and patient.stack is not None:
        await _service_users(report, patient)
    return report


@contextlib.asynccontextmanager
async def _connected(report: Report, url: str, refused: list[str]) -> AsyncIterator[Client | None]:
    """A connection that does not come back by itself; None, and a finding, when there is none.

    Args:
        refused: Gets the subjects that the server refuses.
    """

    async def on_error(error: Exception) -> None:
        refused.extend(match[2].lower() for match in _REFUSED.finditer(str(error)))

    async with contextlib.AsyncExitStack() as opened:
        try:
            nc = await opened.enter_async_context(nats_client(url, "parley-doctor", on_error=on_error))
        except ServerTrouble as error:
            report.problem(error.trouble.text, error.trouble.remedy)
            nc = None
        yield nc


async def _examine(report: Report, nc: Client, patient: Patient, refused: list[str], clock: Clock) -> None:
    version = nc.connected_server_version
    report.ok(f"{without_password(patient.nats_url)} answers, version {version.major}.{version.minor}.{version.patch}.")
    if nc.max_payload < _MIN_PAYLOAD:
        report.problem(
            f"Messages may have {nc.max_payload} bytes only, and answers need 1 MiB.",
            "Set max_payload of nats-server to 1MB (its default) or more.",
        )
    user = _USERS.get(urlsplit(patient.nats_url.split(",")[0]).username or "")
    if user is None:
        report.note(
            "Whoever connects like this is none of Parley's users, and may read and write what the server lets it.",
            "Outside of a developer's machine give each service its own user: deploy/nats/README.md.",
        )
    else:
        await _permissions(report, nc, user, refused)
    if _sees_chat(user) and await _jetstream(report, nc, refused, clock) and _sees_all(user):
        await _streams(report, nc)
        if _may_write(user):
            await _writes(report, nc)
        await _persistence(report, patient)


async def _jetstream(report: Report, nc: Client, refused: list[str], clock: Clock) -> bool:
    """Whether JetStream answers; and what time it has."""
    subject = f"$JS.API.STREAM.INFO.{CHAT.name}"
    asked_at = clock()
    try:
        reply = await nc.request(subject, b"", timeout=_TIMEOUT)
    except nats.errors.NoRespondersError:
        report.problem(
            "JetStream is off.", "Start nats-server with a `jetstream` block (deploy/nats/nats-server.conf)."
        )
        return False
    except (TimeoutError, nats.errors.Error) as error:
        if subject.lower() in refused:
            report.problem("This user may not look at the stream CHAT.", _RENDER)
        else:
            report.problem(
                f"JetStream does not answer: {error!r}", "A cluster answers once most of its servers are up."
            )
        return False
    info = msgspec.json.decode(reply.data, type=_Info)
    if info.ts is not None:
        compare(report, "NATS", info.ts, asked_at, clock())
    return True


def _sees_chat(user: UserPermissions | None) -> bool:
    return user is None or bool({"$JS.API.>", f"$JS.API.STREAM.INFO.{CHAT.name}"} & set(user.publish))


def _sees_all(user: UserPermissions | None) -> bool:
    return user is None or user.user in ("operator", "migrate")


def _may_write(user: UserPermissions | None) -> bool:
    return user is None or user.user == "operator"


async def _streams(report: Report, nc: Client) -> None:
    js = nc.jetstream(timeout=_TIMEOUT)
    try:
        differences = await provision.inspect(nc)
        if await _is_empty(js):
            remedy = "`parley up` and `parley migrate` make them."
            report.empty("There are no streams yet.", remedy, otherwise=[(each.text, _MIGRATE) for each in differences])
            return
        report.made = True
        for difference in differences:
            remedy = "Change it back with the `nats` command (`nats stream edit`, `nats consumer edit`)."
            report.problem(difference.text, _MIGRATE if difference.mends else remedy)
        if not differences:
            report.ok(f"{len(STREAMS)} streams and {len(CONSUMERS)} consumers are as they are declared.")
        for consumer in CONSUMERS:
            with contextlib.suppress(nats.js.errors.NotFoundError):
                info = await js.consumer_info(consumer.stream, consumer.name)
                if info.num_pending and not info.num_waiting and not info.num_ack_pending:
                    service = "chat-store" if consumer.name.startswith("chat-store") else "llm-worker"
                    report.problem(
                        f"{info.num_pending} messages wait for {consumer.name}, and nobody takes them.",
                        f"Start {service}, or see in its log why it does not.",
                    )
        with contextlib.suppress(nats.js.errors.NotFoundError):
            if letters := (await js.stream_info(DEAD_LETTERS.name)).state.messages:
                report.note(f"There are {letters} dead letters.", "Look at them: parley dead-letters list")
    except (TimeoutError, nats.errors.Error, nats.js.errors.Error) as error:
        report.problem(f"The streams cannot be looked at: {error!r}", _RENDER)


async def _writes(report: Report, nc: Client) -> None:
    """Store one message and delete it: a server whose disk was full answers for all else."""
    js = nc.jetstream(timeout=_TIMEOUT)
    try:
        stored = await jetstream.write(js)
        await js.delete_msg(CHAT.name, stored.seq)
        report.ok("A message that is published is stored.")
    except (nats.js.errors.NotFoundError, nats.js.errors.NoStreamResponseError):
        pass  # no stream, or an earlier version's: told above
    except TRANSIENT_ERRORS as error:
        report.problem(
            f"NATS stores no messages in the stream {CHAT.name}: {jetstream.said(error)}.",
            "Make space on its disk, raise the stream's limits if it is full, then restart nats-server: "
            "after a full disk it does not recover by itself.",
        )


async def _is_empty(js: JetStreamContext) -> bool:
    """Whether none of our streams exists."""
    for stream in STREAMS:
        with contextlib.suppress(nats.js.errors.NotFoundError):
            await js.stream_info(stream.name)
            return False
    return True


async def _persistence(report: Report, patient: Patient) -> None:
    """``sync_interval: always``: the monitor alone tells."""
    if not patient.nats_monitor_url:
        if patient.secrets is None:
            report.note(
                "Whether each write reaches the disk before it is acknowledged cannot be seen from here.",
                "Set NATS_MONITOR_URL to the server's monitor (http://HOST:8222) and look again.",
            )
        return
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT) as http:
            answer = (await http.get(f"{patient.nats_monitor_url.rstrip('/')}/varz")).json()
        always = answer["jetstream"]["config"].get("sync_always", False)
    except (httpx.HTTPError, ValueError, KeyError) as error:
        report.problem(f"The monitor of NATS does not answer: {error!r}", "Set NATS_MONITOR_URL to where it is.")
        return
    if always:
        report.ok("Each write reaches the disk before it is acknowledged.")
    else:
        report.problem(
            "Writes are acknowledged minutes before they reach the disk: a crash of the machine can lose messages.",
            "Put `sync_interval: always` into the `jetstream` block of nats-server's configuration.",
        )


# --- permissions ------------------------------


async def _permissions(report: Report, nc: Client, user: UserPermissions, refused: list[str]) -> None:
    """Try what ``user`` must be able to do, as far as trying it does nothing."""
    tried: dict[str, str] = {}
    for pattern in user.all_subscribe:
        subject = _one_of(pattern)
        tried[subject.lower()] = f"subscribe to {pattern}"
        await nc.subscribe(subject)
    for pattern in filter(_SAFE.match, user.publish):
        subject = _one_of(pattern)
        tried[subject.lower()] = f"publish to {pattern}"
        await nc.publish(subject, b"", headers=_NOT_STORED)
    await wait_until_processed(nc)
    lacking = [what for subject, what in tried.items() if subject in refused]
    if lacking:
        report.problem(f"The user {user.user} may not {', nor '.join(lacking)}.", _RENDER)
    else:
        report.ok(f"The user {user.user} may do its part.")


def _one_of(pattern: str) -> str:
    """A subject that the pattern matches and that means nothing to anybody."""
    nobody = str(uuid4())
    tokens = pattern.split(".")
    if pattern.startswith("$JS."):
        return pattern
    return ".".join(nobody if token in ("*", ">") else token for token in tokens)


async def _service_users(report: Report, patient: Patient) -> None:
    """The users of a stack whose passwords we know."""
    assert patient.secrets is not None
    address = patient.nats_url.rpartition("@")[2]
    if not urlsplit(patient.nats_url).username:
        return
    for name, password in patient.secrets.nats_passwords.items():
        if name == urlsplit(patient.nats_url).username:
            continue
        refused: list[str] = []
        async with _connected(report, f"nats://{name}:{password}@{address}", refused) as nc:
            if nc is not None:
                await _permissions(report, nc, _USERS[name], refused)
