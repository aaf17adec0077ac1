"""Check of NATS: that it responds, stores messages, has our streams, and gives each user its permissions."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from parley.contracts.access.permissions import USERS, UserPermissions
from parley.contracts.streams import CHAT, CONSUMERS, DEAD_LETTERS, STREAMS
from parley.runtime.nats import jetstream, provision
from parley.runtime.nats.connect import wait_until_processed
from parley.runtime.nats.errors import TRANSIENT_ERRORS
from parley.runtime.server_urls import without_credentials
from parley_cli.doctor.clock import Clock, compare
from parley_cli.doctor.report import Report
from parley_cli.doctor.target import Target
from parley_cli.servers import ServerUnusable, nats_client, nats_version

_TIMEOUT: Final = 3.0
_MIN_PAYLOAD: Final = 1024 * 1024
_USERS: Final = {user.user: user for user in USERS}
_REFUSED: Final = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"', re.I)
_SAFE: Final = re.compile(
    r"(chat|rpc|dead)\.|live\.\*\.(?!rejected$)|ctl\.\w+\.\*\.|\$JS\.API\.(STREAM|CONSUMER)\.INFO\.[^>]+$"
)
"""Subjects on which a test publish has no effect: nobody uses the id in it, and no service listens to all ids."""
_NOT_STORED: Final = {"Nats-Expected-Stream": "parley-doctor"}
"""A stream refuses to store a message that expects another one."""

_RENDER = "Render the server's users again (deploy/nats/README.md) and reload them: nats-server --signal reload"
_MIGRATE = "Run `parley migrate`."


class _Info(msgspec.Struct):
    ts: datetime | None = None


async def check(target: Target, clock: Clock) -> Report:
    report = Report("nats")
    if not target.nats_url:
        report.note("NATS_URL is not set and no stack runs here.", "`parley up` starts a NATS of its own.")
        return report
    await _connect(report, target.nats_url, partial(_check_server, report, target, clock))
    if target.secrets is not None:
        await _service_users(report, target.nats_url, target.secrets.nats_passwords)
    return report


async def _connect(report: Report, url: str, check: Callable[[Client, list[str]], Awaitable[None]]) -> None:
    """Check a connection, or report why there is none. ``check`` gets a list to which refused subjects are added."""
    refused: list[str] = []

    async def on_error(error: Exception) -> None:
        refused.extend(match[2].lower() for match in _REFUSED.finditer(str(error)))

    try:
        async with nats_client(url, "parley-doctor", on_error=on_error) as nc:
            await check(nc, refused)
    except ServerUnusable as error:
        report.problem(error.text, error.fix)


async def _check_server(report: Report, target: Target, clock: Clock, nc: Client, refused: list[str]) -> None:
    report.ok(f"{without_credentials(target.nats_url)} answers, version {nats_version(nc)}.")
    if nc.max_payload < _MIN_PAYLOAD:
        report.problem(
            f"The maximum payload is {nc.max_payload} bytes; answers need 1 MiB.",
            "Set max_payload of nats-server to 1MB (its default) or more.",
        )
    user = _USERS.get(urlsplit(target.nats_url.split(",")[0]).username or "")
    if user is None:
        report.note(
            "NATS_URL has none of Parley's users, so permissions are those of this server's default.",
            "In production give each service its own user: deploy/nats/README.md.",
        )
    else:
        await _permissions(report, user, nc, refused)
    sees_chat = user is None or bool({"$JS.API.>", f"$JS.API.STREAM.INFO.{CHAT.name}"} & set(user.publish))
    sees_all = user is None or user.user in ("operator", "migrate")
    if sees_chat and await _jetstream(report, nc, refused, clock) and sees_all:
        await _streams(report, nc)
        if user is None or user.user == "operator":
            await _writes(report, nc)
        await _persistence(report, target)


async def _jetstream(report: Report, nc: Client, refused: list[str], clock: Clock) -> bool:
    """Check that JetStream responds, and its clock; return whether it responds."""
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
            report.problem("This user may not read the state of the stream CHAT.", _RENDER)
        else:
            report.problem(
                f"JetStream does not respond: {error!r}", "A cluster responds once a majority of its servers run."
            )
        return False
    info = msgspec.json.decode(reply.data, type=_Info)
    if info.ts is not None:
        compare(report, "NATS", info.ts, asked_at, clock())
    return True


async def _streams(report: Report, nc: Client) -> None:
    js = nc.jetstream(timeout=_TIMEOUT)
    try:
        differences = await provision.inspect(nc)
        if await _is_empty(js):
            fix = "`parley up` and `parley migrate` create them."
            report.empty("There are no streams yet.", fix, otherwise=[(each.text, _MIGRATE) for each in differences])
            return
        report.made = True
        for difference in differences:
            fix = "Change it back with the `nats` command (`nats stream edit`, `nats consumer edit`)."
            report.problem(difference.text, _MIGRATE if difference.mends else fix)
        if not differences:
            report.ok(f"{len(STREAMS)} streams and {len(CONSUMERS)} consumers are as they are declared.")
        for consumer in CONSUMERS:
            with contextlib.suppress(nats.js.errors.NotFoundError):
                info = await js.consumer_info(consumer.stream, consumer.name)
                if info.num_pending and not info.num_waiting and not info.num_ack_pending:
                    service = "chat-store" if consumer.name.startswith("chat-store") else "llm-worker"
                    report.problem(
                        f"{info.num_pending} messages are pending for {consumer.name}, and no service fetches them.",
                        f"Start {service}, or look at its log.",
                    )
        with contextlib.suppress(nats.js.errors.NotFoundError):
            if letters := (await js.stream_info(DEAD_LETTERS.name)).state.messages:
                report.note(f"There are {letters} dead letters.", "List them: parley dead-letters list")
    except (TimeoutError, nats.errors.Error, nats.js.errors.Error) as error:
        report.problem(f"The state of the streams cannot be read: {error!r}", _RENDER)


async def _writes(report: Report, nc: Client) -> None:
    """Store a message and delete it: a server whose disk was full still responds to everything else."""
    js = nc.jetstream(timeout=_TIMEOUT)
    try:
        stored = await jetstream.write(js)
        await js.delete_msg(CHAT.name, stored.seq)
        report.ok("Published messages are stored.")
    except (nats.js.errors.NotFoundError, nats.js.errors.NoStreamResponseError):
        pass  # no stream, or an earlier version's: reported above
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


async def _persistence(report: Report, target: Target) -> None:
    """Check ``sync_interval: always``, which only the monitor reports."""
    if not target.nats_monitor_url:
        if target.secrets is None:
            report.note(
                "It is unknown whether each write is synced to disk before it is acknowledged.",
                "Set NATS_MONITOR_URL to the server's monitor (http://HOST:8222) and run the check again.",
            )
        return
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT) as http:
            answer = (await http.get(f"{target.nats_monitor_url.rstrip('/')}/varz")).json()
        always = answer["jetstream"]["config"].get("sync_always", False)
    except (httpx.HTTPError, ValueError, KeyError) as error:
        report.problem(f"The monitor of NATS does not respond: {error!r}", "Set NATS_MONITOR_URL to its address.")
        return
    if always:
        report.ok("Each write is synced to disk before it is acknowledged.")
    else:
        report.problem(
            "Writes are acknowledged minutes before they are synced to disk: a crash of the machine can lose messages.",
            "Add `sync_interval: always` to the `jetstream` block of nats-server's configuration.",
        )


# --- permissions ------------------------------


async def _permissions(report: Report, user: UserPermissions, nc: Client, refused: list[str]) -> None:
    """Try the permissions of ``user``, as far as trying them has no effect."""
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
    missing = [what for subject, what in tried.items() if subject in refused]
    if missing:
        report.problem(f"The user {user.user} may not {', nor '.join(missing)}.", _RENDER)
    else:
        report.ok(f"The user {user.user} has all its permissions.")


def _one_of(pattern: str) -> str:
    """Return a subject that the pattern matches and that no service uses."""
    if pattern.startswith("$JS."):
        return pattern
    unused = str(uuid4())
    return ".".join(unused if token in ("*", ">") else token for token in pattern.split("."))


async def _service_users(report: Report, nats_url: str, passwords: Mapping[str, str]) -> None:
    """Check the permissions of the services' users, whose passwords the stack has."""
    own = urlsplit(nats_url).username
    if not own:
        return
    for name, password in passwords.items():
        if name != own:
            url = f"nats://{name}:{password}@{nats_url.rpartition('@')[2]}"
            await _connect(report, url, partial(_permissions, report, _USERS[name]))
