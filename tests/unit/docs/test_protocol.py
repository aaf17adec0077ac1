"""docs/protocol.md agrees with the code: every route, frame, code, subject, stream and example."""

import ast
import json
import re
import typing
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from fastapi.routing import APIRoute
from scripts.gen_asyncapi import MESSAGES, concrete, messages_on, receivers, replies_to, senders

import gateway
from gateway import errors
from gateway.app import build_routes
from gateway.routes import schemas
from parley.contracts import events, frames, limits, live, problems, resources, rpc, streams, subjects
from parley.contracts.access import identity
from parley.runtime.nats import dead_letters
from tests.unit.docs.pages import OPEN_PROTOCOLS, PROTOCOL, Example, examples, headings, section, table

MODULES: dict[str, ModuleType] = {
    "bodies": schemas,
    "events": events,
    "frames": frames,
    "identity": identity,
    "live": live,
    "problems": problems,
    "resources": resources,
    "rpc": rpc,
}


def resolve(name: str) -> Any:
    """``bodies.Page[resources.Chat]`` → the type."""
    outer, _, inner = name.partition("[")
    module, _, struct = outer.partition(".")
    found = getattr(MODULES[module], struct)
    return found[resolve(inner.removesuffix("]"))] if inner else found


def structs_of(module: ModuleType) -> set[type]:
    return {
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, msgspec.Struct)
        and (value.__module__ == module.__name__ or value.__module__.startswith(f"{module.__name__}."))
        and not name.startswith("_")
    }


# --- examples ------------------------------


@pytest.mark.parametrize("example", examples(), ids=str)
def test_an_example_equals_the_encoding_of_its_struct(example: Example) -> None:
    decoded = msgspec.json.decode(example.text, type=resolve(example.struct))
    assert json.loads(msgspec.json.encode(decoded)) == json.loads(example.text)


def test_every_struct_of_the_contracts_has_an_example() -> None:
    shown = {resolve(example.struct) for example in examples()}
    wanted = {
        *typing.get_args(frames.ClientFrame),
        *typing.get_args(frames.ServerFrame),
        *typing.get_args(events.Event),
        *structs_of(live),
        *structs_of(schemas),
        *(struct for struct in structs_of(rpc) | structs_of(identity) if not is_nested(struct)),
        rpc.Done,
        rpc.RpcError,
        problems.Problem,
    }
    # Generic, or part of Config.
    wanted -= {schemas.Page, schemas.ContentLimits, schemas.SignIn, schemas.OidcProvider, schemas.SessionSummary}
    assert {struct.__name__ for struct in wanted - shown} == set()


NESTED_REQUESTS = (
    rpc.SearchHit,
    rpc.ContextMessage,
    rpc.KeyOfUser,
    rpc.UsageOfUser,
    rpc.ShareLink,
    rpc.SharedMessage,
)
NESTED_IDENTITIES = (
    identity.User,
    identity.Principal,
    identity.SessionInfo,
    identity.ApiKey,
    identity.External,
)


def is_nested(struct: type) -> bool:
    """Whether a struct of the requests only occurs within others."""
    return struct in NESTED_REQUESTS or struct in NESTED_IDENTITIES


# --- HTTP ------------------------------


def routes() -> set[tuple[str, str, int]]:
    return {
        (method, route.path_format, route.status_code or 200)
        for route in build_routes().routes
        if isinstance(route, APIRoute)
        for method in (route.methods or set()) - {"HEAD"}
    }


def test_every_route_has_its_section_and_every_section_its_route() -> None:
    documented = set()
    for heading in (*headings(3), *headings(3, OPEN_PROTOCOLS)):
        match = re.fullmatch(r"`([A-Z]+) (/\S*)` → (\d+)", heading)
        if match:
            documented.add((match[1], match[2], int(match[3])))
    assert documented == routes()


def problem_codes() -> dict[str, int]:
    """Every code of a problem that the gateway's source names, with its status."""
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.GatewayError) and value is not errors.GatewayError
    }
    codes = {value.default_code: value.status for value in classes.values()}
    for file in Path(gateway.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes):
                continue
            for keyword in node.keywords:
                if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                    codes[str(keyword.value.value)] = classes[node.func.id].status
    return codes


def test_every_problem_code_is_listed_with_its_status() -> None:
    documented = {row[0]: int(row[1]) for row in table(section("Problems"), "code")}
    assert documented == problem_codes() | dict.fromkeys(limits.REASONS, 429)


def test_every_limit_is_listed_with_its_value() -> None:
    documented = {row[0]: int(row[1]) for row in table(PROTOCOL, "limit")}
    assert documented == {name: value for name, value in vars(limits).items() if name.startswith("MAX_")}


# --- the socket ------------------------------


@pytest.mark.parametrize(
    ("heading", "union"), [("From the client", frames.ClientFrame), ("From the server", frames.ServerFrame)]
)
def test_every_frame_has_its_section(heading: str, union: Any) -> None:
    documented = re.findall(r"^#### `(\w+)`$", section(heading), re.MULTILINE)
    assert set(documented) == {frame.__struct_config__.tag for frame in typing.get_args(union)}


def test_every_close_code_is_listed() -> None:
    documented = {row[0]: int(row[1]) for row in table(section("Close codes"), "name")}
    codes = {name: value for name, value in vars(frames.CloseCode).items() if not name.startswith("_")}
    assert documented == codes


def test_the_protocols_version_is_named() -> None:
    assert f"Protocol {frames.PROTOCOL}." in section("The socket")


# --- the bus ------------------------------


def test_every_subject_is_listed_with_its_payload_and_its_users() -> None:
    rows = {row[0]: row for row in table(section("Subjects"), "subject")}
    assert set(rows) == set(subjects.TEMPLATES.values())
    for name, address in subjects.TEMPLATES.items():
        _, carries, between, delivery = rows[address]
        if MESSAGES.get(name) is not None:
            names = [message.__name__ for message in messages_on(name) if message is not None]
            assert carries.replace("`", "").split(", ") == names
        source, _, target = between.partition(" → ")
        if name != "rpc_store":
            assert set(source.split(", ")) == set(senders(concrete(address))), address
            assert receivers(concrete(address)) == ([] if target.startswith("(") else target.split(", ")), address
        for stream in streams.STREAMS:
            assert (concrete(address) in stream.subjects) <= (delivery == f"stream `{stream.name}")


def test_every_stream_is_listed_as_it_is_declared() -> None:
    rows = table(section("Streams"), "stream")
    documented = [[cell.replace("`", "") for cell in row] for row in rows]
    assert documented == [
        [
            stream.name,
            ", ".join(stream.subjects),
            f"{stream.max_age:.0f} s",
            f"{stream.duplicate_window:.0f} s",
            count(stream.max_msgs_per_subject),
        ]
        for stream in streams.STREAMS
    ]


def test_every_consumer_is_listed_as_it_is_declared() -> None:
    assert table(section("Streams"), "consumer") == [
        [
            consumer.name,
            consumer.stream,
            consumer.filter_subject,
            f"{consumer.ack_wait:.0f} s",
            count(consumer.max_deliver),
            str(consumer.max_ack_pending),
        ]
        for consumer in streams.CONSUMERS
    ]


def count(number: int) -> str:
    return "–" if number < 0 else str(number)


def test_every_event_has_its_section() -> None:
    documented = re.findall(r"^#### `([\w.]+)`$", section("Events"), re.MULTILINE)
    assert set(documented) == {event.__struct_config__.tag for event in typing.get_args(events.Event)}


def test_every_request_has_its_section_with_its_replies() -> None:
    documented = set()
    for subject, replies in re.findall(r"^#### `([\w.{}]+)`(?: → (.+))?$", section("Requests"), re.MULTILINE):
        documented.add((subject, tuple(re.findall(r"`(\w+)`", replies))))
    requests: dict[str, type] = {subjects.rpc_store(verb): request for verb, request in rpc.STORE_REQUESTS.items()}
    requests[subjects.TEMPLATES["rpc_models_list"]] = rpc.ListModels
    requests[subjects.TEMPLATES["rpc_generation_snapshot"]] = rpc.SnapshotRequest
    requests[subjects.TEMPLATES["ctl_generation_stop"]] = rpc.StopSignal
    requests[subjects.TEMPLATES["ctl_generation_decided"]] = rpc.ToolDecided
    requests[subjects.TEMPLATES["ctl_search_cancel"]] = rpc.CancelSearch
    assert documented == {
        (subject, tuple(reply.__name__ for reply in replies_to(request) if reply is not rpc.RpcError))
        for subject, request in requests.items()
    }


def test_the_codes_of_a_refusal_are_those_of_the_contract() -> None:
    documented = re.findall(r"`(\w+)`", section("Requests").partition("with `code` one of ")[2].partition(".")[0])
    contract = re.findall(r"``(\w+)``", (rpc.RpcError.__doc__ or "").partition("code: ")[2].partition("retry_after")[0])
    assert documented == contract


def test_the_headers_of_a_dead_letter_are_named() -> None:
    for name in ("REASON", "SUBJECT", "STREAM", "SEQUENCE", "DELIVERIES"):
        assert f"`{getattr(dead_letters, name)}`" in section("Subjects")
