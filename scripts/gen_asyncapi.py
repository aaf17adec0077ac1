"""Generate ``docs/asyncapi.json`` from the contracts: every subject, its messages, who sends and who receives.

``python scripts/gen_asyncapi.py`` writes it; a test compares it with what it is generated from. The senders and
receivers are those that :mod:`parley.contracts.access.permissions` allows; the replies are those that the requests
declare.
"""

import importlib.metadata
import inspect
import re
import typing
from pathlib import Path
from typing import Any

import msgspec

from parley.contracts import events, frames, live, rpc, streams, subjects
from parley.contracts.access import audit, identity
from parley.contracts.access.permissions import CHAT_STORE, GATEWAY, LLM_WORKER, PUSH, UserPermissions

FILE = Path(__file__).parents[1] / "docs" / "asyncapi.json"
CLIENT_FRAMES: tuple[type, ...] = typing.get_args(frames.ClientFrame)
SERVER_FRAMES: tuple[type, ...] = typing.get_args(frames.ServerFrame)
SERVICES = (GATEWAY, CHAT_STORE, LLM_WORKER, PUSH)

# What travels on each template of parley.contracts.subjects; None: whatever was there before.
MESSAGES: dict[str, type | tuple[type, ...] | None] = {
    "prompt_submitted": events.PromptSubmitted,
    "generation_requested": events.GenerationRequested,
    "generation_segment": events.GenerationSegment,
    "generation_finished": events.GenerationFinished,
    "live_delta": frames.Delta,
    "live_generation": frames.Generation,
    "live_changed": live.Changed,
    "live_rejected": live.PromptRejected,
    "live_presence": live.PresenceReport,
    "user_chats": (live.ListChanged, live.InvitationsChanged),
    "rpc_models_list": rpc.ListModels,
    "rpc_generation_snapshot": rpc.SnapshotRequest,
    "ctl_generation_stop": rpc.StopSignal,
    "ctl_generation_decided": rpc.ToolDecided,
    "ctl_search_cancel": rpc.CancelSearch,
    "ctl_ticket_used": live.TicketUsed,
    "ctl_identity_revoked": identity.Revoked,
    "dead_letter": None,
    "audit": audit.AuditEvent,
    "write_probe": None,
}
PARAMETERS = {
    "chat": "The chat's id.",
    "user": "The user's id.",
    "generation": "The generation's id.",
    "search": "The search's id, as its request named it.",
    "kind": "What happened, as the event's `kind`.",
    "consumer": "The durable consumer that could not handle the message.",
}


def messages_on(template: str) -> tuple[type | None, ...]:
    """Return what travels on a template of the subjects."""
    found = MESSAGES[template]
    return found if isinstance(found, tuple) else (found,)


def replies_to(request: type) -> tuple[type, ...]:
    """Return what answers a request, ``RpcError`` included; nothing for one that is not answered."""
    if not issubclass(request, rpc.Request):
        return ()
    reply = request.reply_type()
    return (*(typing.get_args(reply) or (reply,)), rpc.RpcError)


def senders(subject: str) -> list[str]:
    """Return the services that may publish on a subject (a template's placeholders written as ``*``)."""
    return [user.user for user in SERVICES if _covers(user.publish, subject)]


def receivers(subject: str) -> list[str]:
    """Return the services that may subscribe to a subject, or consume it from a stream."""
    return [user.user for user in SERVICES if _covers(user.subscribe, subject) or _consumes(user, subject)]


def concrete(address: str) -> str:
    """Return a template as a subject with wildcards."""
    return re.sub(r"\{\w+\}", "*", address)


def _covers(patterns: tuple[str, ...], subject: str) -> bool:
    # Either may be the wider one: who may publish to some subjects of a template is among its senders.
    return any(_within(subject, pattern) or _within(pattern, subject) for pattern in patterns)


def _within(subject: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", "[^.]+").replace(">", ".+"), subject) is not None


def _consumes(user: UserPermissions, subject: str) -> bool:
    return any(
        f"$JS.ACK.{consumer.stream}.{consumer.name}.>" in user.publish
        for consumer in streams.CONSUMERS
        if consumer.filter_subject == subject
    )


class Document:
    """An AsyncAPI 3.0 document as it grows."""

    def __init__(self) -> None:
        self.channels: dict[str, Any] = {}
        self.operations: dict[str, Any] = {}
        self.messages: dict[str, type | None] = {}

    def add_subject(self, name: str, address: str, messages: tuple[type | None, ...]) -> None:
        """Add a subject, its messages, and one operation for each service that uses it."""
        subject = concrete(address)
        answers = tuple(answer for message in messages if message is not None for answer in replies_to(message))
        self._add_channel(name, address, messages, "nats", _delivery(subject))
        if answers:
            self._add_channel(f"{name}_reply", None, answers, "nats", "The inbox that the request named.")
        for service in senders(subject):
            self._add_operation(service, "send", name, messages, answers)
        for service in receivers(subject):
            self._add_operation(service, "receive", name, messages, answers)

    def add_socket(self) -> None:
        every = (*CLIENT_FRAMES, *SERVER_FRAMES)
        self._add_channel("socket", "/ws", every, "push", "The socket protocol, version 1. In order; see protocol.md.")
        self._add_operation("push", "receive", "socket", CLIENT_FRAMES, ())
        self._add_operation("push", "send", "socket", SERVER_FRAMES, ())

    def add_event_stream(self) -> None:
        sent_frames = tuple(frame for frame in SERVER_FRAMES if frame is not frames.Ready)
        self._add_channel(
            "event_stream",
            "/v1/chats/{chat}/stream",
            sent_frames,
            "push",
            "The same frames as server-sent events; the event id is the cursor. The gateway forwards them.",
        )
        self._add_operation("push", "send", "event_stream", sent_frames, ())

    def render(self) -> dict[str, Any]:
        structs = [message for message in self.messages.values() if message is not None]
        _, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
        for schema in schemas.values():
            if "description" in schema:
                # From Python 3.13 on docstrings come without their indentation.
                schema["description"] = inspect.cleandoc(schema["description"])
        names = dict(zip(structs, (self._schema_name(schemas, struct) for struct in structs), strict=True))
        return {
            "asyncapi": "3.0.0",
            "info": {
                "title": "Parley",
                "version": importlib.metadata.version("parley-shared"),
                "description": "What travels between Parley's services, and between push and a reader. Generated from "
                "the code by scripts/gen_asyncapi.py; docs/protocol.md explains it.",
            },
            "defaultContentType": "application/json",
            "servers": {
                "nats": {"host": "127.0.0.1:4222", "protocol": "nats", "description": "The bus."},
                "push": {"host": "127.0.0.1:8001", "protocol": "ws", "description": "The sockets."},
                "gateway": {"host": "127.0.0.1:8000", "protocol": "http", "description": "The HTTP edge."},
            },
            "channels": self.channels,
            "operations": self.operations,
            "components": {
                "messages": {
                    name: {"name": name}
                    | ({"payload": {"$ref": f"#/components/schemas/{names[struct]}"}} if struct is not None else {})
                    for name, struct in self.messages.items()
                },
                "schemas": schemas,
            },
        }

    def _add_channel(
        self, name: str, address: str | None, messages: tuple[type | None, ...], server: str, description: str
    ) -> None:
        for message in messages:
            self.messages[_message_name(message)] = message
        channel: dict[str, Any] = {
            "address": address,
            "description": description,
            "servers": [{"$ref": f"#/servers/{server}"}],
            "messages": {
                _message_name(message): {"$ref": f"#/components/messages/{_message_name(message)}"}
                for message in messages
            },
        }
        parameters = re.findall(r"\{(\w+)\}", address or "")
        if parameters:
            channel["parameters"] = {parameter: {"description": PARAMETERS[parameter]} for parameter in parameters}
        self.channels[name] = channel

    def _add_operation(
        self, service: str, action: str, channel: str, messages: tuple[type | None, ...], answers: tuple[type, ...]
    ) -> None:
        operation: dict[str, Any] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{channel}"},
            "messages": [_message_of(channel, message) for message in messages],
            "tags": [{"name": service}],
        }
        if answers:
            operation["reply"] = {
                "channel": {"$ref": f"#/channels/{channel}_reply"},
                "messages": [_message_of(f"{channel}_reply", answer) for answer in answers],
            }
        self.operations[f"{service}_{action}s_{channel}".replace("-", "_")] = operation

    @staticmethod
    def _schema_name(schemas: dict[str, Any], struct: type) -> str:
        # Two structs of one name get their modules' names before them.
        qualified = f"{struct.__module__}.{struct.__qualname__}".replace(".", "_")
        return qualified if qualified in schemas else struct.__name__


def _message_name(message: type | None) -> str:
    return "DeadLetter" if message is None else message.__name__


def _message_of(channel: str, message: type | None) -> dict[str, str]:
    return {"$ref": f"#/channels/{channel}/messages/{_message_name(message)}"}


def _delivery(subject: str) -> str:
    for stream in streams.STREAMS:
        if _covers(stream.subjects, subject.replace("*", "x")):
            return f"Stored in the stream {stream.name}: at least once, deduplicated by Nats-Msg-Id."
    if subject.startswith("rpc."):
        return "Request and reply over core NATS: at most once; a repeat is harmless."
    return "Core NATS: at most once, to whoever listens."


def build() -> dict[str, Any]:
    """Build the document."""
    document = Document()
    for name, address in subjects.TEMPLATES.items():
        if name != "rpc_store":
            document.add_subject(name, address, messages_on(name))
    for verb, request in rpc.STORE_REQUESTS.items():
        document.add_subject(f"rpc_store_{verb}", subjects.rpc_store(verb), (request,))
    document.add_socket()
    document.add_event_stream()
    return document.render()


def encoded() -> bytes:
    """Return the file's content."""
    return msgspec.json.format(msgspec.json.encode(build()), indent=2) + b"\n"


if __name__ == "__main__":
    FILE.write_bytes(encoded())
