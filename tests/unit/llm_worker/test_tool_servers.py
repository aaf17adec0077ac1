"""The setting of tool servers, and which tools a model gets."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from llm_worker.settings import WorkerSettings
from llm_worker.tools import toolbox
from llm_worker.tools.configuration import ToolServer, parse
from llm_worker.tools.connection import ListedTool, ServerConnection, text_of
from llm_worker.tools.schemas import accepted
from llm_worker.tools.session import Session
from llm_worker.tools.toolbox import UNKNOWN, ToolServers, client_tools
from tests.support.waiting import eventually

URL = "http://tools.example/mcp"


def settings(**values: Any) -> WorkerSettings:
    return WorkerSettings(nats_url="nats://a", **values)


def test_the_setting_is_a_list_of_servers() -> None:
    value = b'[{"name": "a", "url": "http://a/mcp"}, {"name": "b", "command": ["b", "-v"], "timeout": 5}]'
    first, second = parse(value)
    assert (first.name, first.url, first.timeout, first.approval) == ("a", "http://a/mcp", 60.0, "never")
    assert (second.command, second.timeout) == (("b", "-v"), 5.0)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{", "neither JSON nor a file|not a list of tool servers"),
        ("[7]", "not a list of tool servers"),
        ('[{"name": "a"}]', "either url or command"),
        ('[{"name": "a", "url": "http://a", "command": ["b"]}]', "either url or command"),
        ('[{"name": "a", "url": "ftp://a"}]', "must begin with http"),
        ('[{"name": "a b", "url": "http://a"}]', "matching regex"),
        ('[{"name": "a", "url": "http://a", "port": 7}]', "unknown field"),
        ('[{"name": "a", "url": "http://a", "approval": "sometimes"}]', "approval"),
        ('[{"name": "a", "url": "http://a"}, {"name": "a", "url": "http://b"}]', "two tool servers"),
        ('[{"name": "a", "url": "http://a", "headers": {"X": 7}, "env": {"SECRET": "s3cr3t"}}]', "headers"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_without_its_secrets(value: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as caught:
        settings(mcp_servers=value)
    assert "s3cr3t" not in "".join(problem["msg"] for problem in caught.value.errors())


def test_secrets_are_not_shown() -> None:
    read = settings(mcp_servers='[{"name": "a", "url": "http://u:s3cr3t@a", "headers": {"X": "s3cr3t"}}]')
    assert "s3cr3t" not in f"{read!r} {read.tool_servers!r}"
    assert [server.name for server in read.tool_servers] == ["a"]


async def test_a_model_that_refused_tools_is_offered_none_for_a_while(
    listed: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed["a"] = ["search"]
    tools = ToolServers([ToolServer(name="a", url=URL)])
    tools.refuse("gemma3")
    assert not (await tools.toolbox("gemma3")).tools
    assert (await tools.toolbox("gpt-5")).tools
    monkeypatch.setattr(toolbox, "_REFUSED_SECONDS", 0.0)
    tools.refuse("gemma3")
    assert (await tools.toolbox("gemma3")).tools


def test_without_the_setting_there_are_no_servers() -> None:
    assert settings().tool_servers == ()
    assert settings(mcp_servers="").tool_servers == ()


def test_models_tools_and_approval_are_names_or_patterns() -> None:
    server = ToolServer(name="a", url=URL, models=("gpt-*",), tools=("read_*", "search"), approval=("read_private",))
    assert [server.is_for(model) for model in ("gpt-5", "llama")] == [True, False]
    assert [server.offers(tool) for tool in ("read_file", "search", "write")] == [True, True, False]
    assert [server.needs_approval(tool) for tool in ("read_private", "search")] == [True, False]
    assert ToolServer(name="a", url=URL, approval="always").needs_approval("search")
    assert not ToolServer(name="a", url=URL).needs_approval("search")


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The tools of each server."""
    offered: dict[str, list[str]] = {}

    class Connection:
        def __init__(self, server: ToolServer) -> None:
            self.name = server.name

        async def list_tools(self) -> list[ListedTool]:
            return [ListedTool(tool, f"Does {tool}.", accepted({})) for tool in offered.get(self.name, [])]

    monkeypatch.setattr(toolbox, "ServerConnection", Connection)
    return offered


def names(found: toolbox.Toolbox) -> list[tuple[str, str, str]]:
    return [(name, tool.server.name, tool.tool) for name, tool in found.tools.items()]


async def test_a_model_gets_the_offered_tools_of_its_servers(listed: dict[str, list[str]]) -> None:
    listed |= {"a": ["search", "write"], "b": ["read"]}
    tools = ToolServers(
        [ToolServer(name="a", url=URL, tools=("search",)), ToolServer(name="b", url=URL, models=("gpt-*",))]
    )
    assert names(await tools.toolbox("llama")) == [("search", "a", "search")]
    found = await tools.toolbox("gpt-5")
    assert names(found) == [("search", "a", "search"), ("read", "b", "read")]
    assert [found.server_of(tool) for tool in ("search", "read", "none")] == ["a", "b", UNKNOWN]
    assert (await tools.toolbox("gpt-5", taken={"own"})).server_of("own") is None
    assert toolbox.Toolbox({}, ()).server_of("none") is None
    assert found.definitions[1] == {
        "type": "function",
        "function": {
            "name": "read",
            "description": "Does read.",
            "parameters": {"type": "object", "properties": {}},
        },
    }


async def test_a_name_that_is_taken_gets_its_servers_name_before_it(listed: dict[str, list[str]]) -> None:
    listed |= {"a": ["search", "read"], "b": ["search", "a/very.odd name"], "c": ["search"]}
    tools = ToolServers([ToolServer(name=name, url=URL) for name in "abc"])
    assert names(await tools.toolbox("m", taken={"read"})) == [
        ("search", "a", "search"),
        ("a_read", "a", "read"),
        ("b_search", "b", "search"),
        ("a_very_odd_name", "b", "a/very.odd name"),
        ("c_search", "c", "search"),
    ]


async def test_a_name_that_is_taken_twice_is_left_out(listed: dict[str, list[str]]) -> None:
    listed["a"] = ["search"]
    tools = ToolServers([ToolServer(name="a", url=URL)])
    assert names(await tools.toolbox("m", taken={"search", "a_search"})) == []


async def test_a_tool_that_is_listed_twice_is_offered_once(listed: dict[str, list[str]]) -> None:
    listed["a"] = ["search", "search", ""]
    tools = ToolServers([ToolServer(name="a", url=URL)])
    assert names(await tools.toolbox("m")) == [("search", "a", "search")]


async def test_long_names_that_begin_alike_are_told_apart(listed: dict[str, list[str]]) -> None:
    listed["a"] = [f"{'x' * 70}_{number}" for number in range(4)]
    tools = ToolServers([ToolServer(name="a", url=URL)])
    found = await tools.toolbox("m")
    assert [tool.tool for tool in found.tools.values()] == listed["a"]
    assert {len(name) for name in found.tools} == {64}
    assert names(found) == names(await tools.toolbox("m")), "the same after a takeover"


async def test_no_request_has_more_tools_than_providers_accept(
    listed: dict[str, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    listed |= {"a": [f"a{number}" for number in range(100)], "b": [f"b{number}" for number in range(100)]}
    tools = ToolServers([ToolServer(name=name, url=URL) for name in "ab"])
    for _ in range(2):
        assert len((await tools.toolbox("m", taken={"own", "other"})).tools) == 126
    assert caplog.text.count("74 tools are left out") == 1


@pytest.mark.parametrize(
    "schema", [{"type": "object"}, {"type": "object", "properties": None}, {}, {"properties": {}}, {"type": "string"}]
)
def test_a_schema_that_providers_refuse_is_mended(schema: dict[str, Any]) -> None:
    assert accepted(schema) == {"type": "object", "properties": {}}


def test_a_schema_that_combines_others_is_one_object_with_their_properties() -> None:
    text = {"type": "string"}
    create = {"type": "object", "properties": {"kind": {"const": "create"}, "name": text}, "required": ["kind", "name"]}
    delete = {"type": "object", "properties": {"kind": {"const": "delete"}, "id": text}, "required": ["kind", "id"]}
    whole = {"properties": {"note": text}, "required": ["note"], "oneOf": [create, delete], "not": {"required": ["x"]}}
    assert accepted(whole) == {
        "type": "object",
        "properties": {
            "note": text,
            "kind": {"anyOf": [{"const": "create"}, {"const": "delete"}]},
            "name": text,
            "id": text,
        },
        "required": ["note"],
    }
    alternatives = {"type": "object", "properties": {"a": text}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    assert accepted(alternatives) == {"type": "object", "properties": {"a": text}}


def test_every_array_in_a_schema_has_items() -> None:
    array = {"type": "array"}
    mended = {"type": "array", "items": {}}
    nested = {"type": "object", "properties": {"list": array}}
    properties = {"a": array, "b": {"type": ["array", "null"]}, "c": {"anyOf": [array, nested]}, "type": array}
    given = {"type": "object", "properties": properties, "$defs": {"d": array}, "default": {"type": "array"}}
    assert accepted(given) == {
        "type": "object",
        "properties": {
            "a": mended,
            "b": {"type": ["array", "null"], "items": {}},
            "c": {"anyOf": [mended, {"type": "object", "properties": {"list": mended}}]},
            "type": mended,
        },
        "$defs": {"d": mended},
        "default": {"type": "array"},
    }
    has_items = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "number"}}}}
    assert accepted(has_items) == has_items


def test_what_is_no_schema_is_left_out_of_one() -> None:
    count = {"description": "How many", "default": None, "enum": [None, 1]}
    properties = {"count": {**count, "type": "int", "items": None}, "type": "object", "list": [], "any": True}
    nested = {"type": "object", "properties": {"count": {"type": "str"}}, "required": None}
    given = {"type": "object", "properties": {**properties, "nested": nested}, "required": None}
    assert accepted(given) == {
        "type": "object",
        "properties": {"count": count, "any": True, "nested": {"type": "object", "properties": {"count": {}}}},
    }


def test_the_clients_tools_are_known_by_their_names() -> None:
    tools = [{"function": {"name": "a"}}, {"custom": {"name": "b"}}, 7, {"function": 7}, {}]
    assert client_tools({"tools": tools}) == {"a", "b"}
    assert client_tools({}) == client_tools({"tools": None}) == set()


def content(**fields: Any) -> SimpleNamespace:
    return SimpleNamespace(**fields)


@pytest.mark.parametrize(
    ("blocks", "structured", "text"),
    [
        ([content(type="text", text="a"), content(type="text", text="b")], None, "a\nb"),
        ([content(type="image", mime_type="image/png")], None, "[image: image/png]"),
        ([content(type="resource", resource=content(text="a"))], None, "a"),
        ([content(type="text", text="")], None, ""),
        ([content(type="audio")], None, "[audio]"),
        (
            [content(type="resource", resource=content(uri="file:///a", mime_type="application/pdf", blob="aGk="))],
            None,
            "[resource: application/pdf, file:///a]",
        ),
        ([content(type="resource_link", uri="file:///a", mime_type=None)], None, "[resource_link: file:///a]"),
        ([content(type="text", text="a")], {"b": 1}, "a"),
        ([], {"b": "ü"}, '{"b": "ü"}'),
        ([content(type="text", text=" ")], {"b": 1}, '{"b": 1}'),
        ([], None, ""),
    ],
)
def test_a_result_is_text(blocks: list[Any], structured: Any, text: str) -> None:
    assert text_of(content(content=blocks, structured_content=structured)) == text


async def test_a_program_that_does_not_start_offers_no_tools(caplog: pytest.LogCaptureFixture) -> None:
    connection = ServerConnection(ToolServer(name="a", command=("/nonexistent-program",)))
    assert await connection.list_tools() == []
    assert "The tool server a cannot be reached." in caplog.text
    await connection.close()


class Fake(ServerConnection):
    """A connection without a server: a client is there once ``may_open`` is set."""

    def __init__(self, *clients: Any) -> None:
        super().__init__(ToolServer(name="a", url=URL))
        self.clients = list(clients)
        self.may_open = asyncio.Event()
        self.started = 0

    def _new_session(self) -> Session:
        self.started += 1
        return FakeSession(self)


class FakeSession(Session):
    def __init__(self, connection: Fake) -> None:
        self.connection = connection
        super().__init__(ToolServer(name="a", url=URL))

    async def _own(self) -> None:
        await self.connection.may_open.wait()
        self._client.set_result(self.connection.clients.pop(0))
        await self._closing.wait()


class Client:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.called = 0

    async def call_tool(self, name: str, arguments: dict[str, Any], timeout: float, *, meta: Any) -> Any:
        self.called += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return content(content=[content(type="text", text=self.answer)], structured_content=None, is_error=False)


async def test_a_caller_who_gives_up_does_not_close_what_others_wait_for() -> None:
    connection = Fake(Client("Noon."))
    first, second = (asyncio.create_task(connection.call("clock", {}, key="k")) for _ in range(2))
    await eventually(lambda: connection.started == 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    connection.may_open.set()
    assert (await second).text == "Noon."
    assert connection.started == 1
    await connection.close()


async def test_calls_that_break_off_at_once_open_one_new_connection() -> None:
    from mcp import MCPError
    from mcp.types import CONNECTION_CLOSED

    connection = Fake(Client(MCPError(code=CONNECTION_CLOSED, message="closed")), Client("Noon."))
    connection.may_open.set()
    failures = await asyncio.gather(*(connection.call("c", {}, key="k") for _ in range(3)), return_exceptions=True)
    assert [str(failure) for failure in failures] == ["The connection to the tool server a broke off."] * 3
    assert (await connection.call("clock", {}, key="k")).text == "Noon."
    assert connection.started == 2
    await connection.close()


async def test_a_call_that_the_server_refused_for_its_session_is_sent_again() -> None:
    from mcp import MCPError
    from mcp.types import INVALID_REQUEST

    connection = Fake(Client(MCPError(code=INVALID_REQUEST, message="Session terminated")), Client("Noon."))
    connection.may_open.set()
    assert (await connection.call("clock", {}, key="k")).text == "Noon."
    await connection.close()
