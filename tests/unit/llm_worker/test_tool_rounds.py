"""Calls of tools that Parley runs: the loop, its limits, and what a takeover runs again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from llm_worker.errors import LeaseLost, ProviderError, ToolServerError
from llm_worker.generation import tool_rounds
from llm_worker.generation.content import ENDED_BEFORE
from llm_worker.provider import error_mapping
from llm_worker.tools.configuration import ToolServer
from llm_worker.tools.connection import ToolResult
from llm_worker.tools.toolbox import UNKNOWN, Tool, Toolbox
from parley.contracts.completion import Span, ToolCall, ToolRound
from parley.contracts.events import GenerationFinished
from parley.contracts.resources import Usage
from parley.contracts.rpc import StoreToolRound, ToolRoundStored
from parley.runtime.nats.errors import BusUnavailable, RpcRefused
from tests.support.waiting import eventually
from tests.unit.llm_worker.scripted_run import COUNT, Ended, Run
from tests.unit.llm_worker.test_completion import DONE, chunk

Answer = str | Exception | Callable[[], Awaitable[ToolResult]]


class Server:
    """A tool server that plays its answers, one for each call; the last one repeatedly."""

    def __init__(self, *answers: Answer, **settings: Any) -> None:
        self.answers = answers or ("Noon.",)
        self.settings = ToolServer(name="time", command=("unused",), **settings)
        self.called: list[tuple[str, dict[str, Any], str]] = []
        self.refused: list[str] = []

    async def call(self, tool: str, arguments: dict[str, Any], *, key: str) -> ToolResult:
        self.called.append((tool, arguments, key))
        answer = self.answers[min(len(self.called), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return ToolResult(answer, failed=False) if isinstance(answer, str) else await answer()

    def refuse(self, model: str) -> None:
        self.refused.append(model)

    async def toolbox(self, model: str, *, taken: set[str]) -> Toolbox:
        definition = {"type": "function", "function": {"name": "clock"}}
        connection: Any = self
        tool = Tool(name="clock", tool="get-time", server=self.settings, connection=connection, definition=definition)
        return Toolbox({} if "clock" in taken else {"clock": tool}, taken)


class Store:
    """Keeps each version of each round that is stored."""

    def __init__(self) -> None:
        self.stored: list[StoreToolRound] = []
        self.errors: list[Exception] = []
        self.decisions: dict[str, bool] = {}

    async def ask(self, nc: object, request: StoreToolRound, *, timeout: float) -> ToolRoundStored:
        if self.errors:
            raise self.errors.pop(0)
        self.stored.append(request)
        return ToolRoundStored(decisions=self.decisions)

    @property
    def statuses(self) -> list[tuple[int, list[str]]]:
        return [(request.number, [call.status for call in request.round.calls]) for request in self.stored]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    built = Store()
    monkeypatch.setattr(tool_rounds, "ask", built.ask)
    return built


def calls(*ids: str, name: str = "clock", arguments: str = '{"zone":"UTC"}', text: str = "") -> list[bytes]:
    """A completion that calls a tool."""
    entries = [
        {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}
        for index, call_id in enumerate(ids)
    ]
    return [*([chunk(content=text)] if text else []), chunk(tool_calls=entries), chunk("tool_calls"), COUNT, DONE]


LATE = [chunk(content="Late."), chunk("stop"), COUNT, DONE]


def run(
    server: Server, *scripts: Sequence[bytes] | ProviderError, rounds: Sequence[ToolRound] = (), **settings: Any
) -> Run:
    built = Run(*scripts, **settings)
    built.generation._dependencies.__dict__["tools"] = server
    built.claims.rounds = list(rounds)
    return built


def sent(run: Run, request: int) -> list[tuple[str, Any]]:
    """Role and content of each message of a request, of calls their ids."""
    messages = run.provider.asked[request][2]["messages"]
    return [
        (message["role"], [call["id"] for call in message.get("tool_calls", ())] or message["content"])
        for message in messages
    ]


async def test_the_model_gets_the_result_of_its_call_and_answers(ended: Ended, store: Store) -> None:
    server = Server("Noon.")
    asked = run(server, calls("a", text="One moment."), LATE)
    end: GenerationFinished = await ended(asked)
    assert (end.outcome, end.text, end.finish_reason) == ("complete", "One moment.Late.", "stop")
    (call,) = end.tool_calls
    assert (call.id, call.name, call.server, call.status, call.result) == ("a", "clock", "time", "complete", "Noon.")
    assert call.seconds is not None
    assert end.layout == [Span("text", 11), Span("tool"), Span("text", 5)]
    assert server.called == [("get-time", {"zone": "UTC"}, f"{end.generation_id}:0:a")]
    assert sent(asked, 1) == [("user", "What time is it?"), ("assistant", ["a"]), ("tool", "Noon.")]
    assert [members["tools"] for _, _, members in asked.provider.asked] == [
        [{"type": "function", "function": {"name": "clock"}}]
    ] * 2
    assert end.usage == Usage(input_tokens=14, output_tokens=6), "of both requests"


async def test_the_reasoning_before_a_call_goes_with_it(ended: Ended, store: Store) -> None:
    asked = run(Server(), [chunk(reasoning="Hm."), *calls("a")], LATE)
    await ended(asked)
    assert asked.provider.asked[1][2]["messages"][1]["reasoning_content"] == "Hm."


async def test_the_extra_content_of_a_call_goes_back_with_it(ended: Ended, store: Store) -> None:
    extra = {"google": {"thought_signature": "sig"}}
    call = {"index": 0, "id": "a", "function": {"name": "clock", "arguments": "{}"}, "extra_content": extra}
    asked = run(Server(), [chunk(tool_calls=[call]), chunk("tool_calls"), DONE], LATE)
    await ended(asked)
    assert asked.provider.asked[1][2]["messages"][1]["tool_calls"][0]["extra_content"] == extra
    assert all(request.round.calls[0].extra_content for request in store.stored), "a takeover sends it, too"


async def test_encrypted_reasoning_goes_back_in_its_message(ended: Ended, store: Store) -> None:
    signature = {"type": "reasoning.encrypted", "data": "sig", "id": "a"}
    script = calls("a")
    asked = run(Server(), [script[0], chunk(reasoning_details=[signature]), *script[1:]], LATE)
    await ended(asked)
    answer = asked.provider.asked[1][2]["messages"][1]
    assert answer["reasoning_details"] == [signature]
    assert "extra_content" not in answer["tool_calls"][0]
    assert answer["tool_calls"][0]["function"]["arguments"] == '{"zone":"UTC"}'


async def test_a_round_is_stored_before_its_call_runs_and_after_it(ended: Ended, store: Store) -> None:
    async def look() -> ToolResult:
        assert store.statuses == [(0, ["running", "called"])]
        return ToolResult("Noon.", failed=False)

    end = await ended(run(Server(look, "One."), calls("a", "b", text="So"), LATE))
    assert store.statuses == [
        (0, ["running", "called"]),
        (0, ["complete", "running"]),
        (0, ["complete", "complete"]),
    ]
    assert store.stored[-1].round.text == "So"
    assert {request.attempt for request in store.stored} == {1}
    assert [call.result for call in end.tool_calls] == ["Noon.", "One."]


async def test_readers_see_each_status_of_a_call(ended: Ended, store: Store) -> None:
    asked = run(Server(), calls("a"), LATE)
    end = await ended(asked)
    tools = [frame["tool"] for frame in asked.live.frames if frame.get("tool")]
    assert [tool["call"].get("status", "called") for tool in tools] == ["called", "running", "complete"]
    assert tools[0]["call"]["server"] == "time"
    assert tools[-1]["call"]["arguments"] == '{"zone":"UTC"}'
    deltas = [frame for frame in asked.live.frames if frame["type"] == "delta"]
    assert [delta["from"] for delta in deltas] == list(range(1, len(deltas) + 1))
    assert end.tool_calls == (await asked.generation.snapshot()).tool_calls


async def test_several_rounds_go_on_with_all_that_came_before(ended: Ended, store: Store) -> None:
    asked = run(Server("One.", "Two."), calls("a"), calls("a"), LATE)
    end = await ended(asked)
    first, second = end.tool_calls
    assert first.id == "a"
    assert second.id != "a", "ids are unique within the answer"
    assert sent(asked, 2)[1:] == [("assistant", ["a"]), ("tool", "One."), ("assistant", [second.id]), ("tool", "Two.")]
    assert [request.number for request in store.stored] == [0, 0, 1, 1]
    assert end.usage == Usage(input_tokens=21, output_tokens=9)


# --- what goes wrong --------------------------------------------------------------------------------------------------


async def test_a_server_that_is_down_fails_the_call_and_not_the_answer(ended: Ended, store: Store) -> None:
    asked = run(Server(ToolServerError("The tool server time cannot be reached.")), calls("a"), LATE)
    end = await ended(asked)
    assert (end.outcome, end.text) == ("complete", "Late.")
    assert (end.tool_calls[0].status, end.tool_calls[0].result) == ("failed", "The tool server time cannot be reached.")
    assert sent(asked, 1)[-1] == ("tool", "The tool server time cannot be reached.")


@pytest.mark.parametrize("arguments", ["{", "[]", "7", '{"zone": "\\ud83d"}', '{"a":' * 5000 + "1" + "}" * 5000])
async def test_arguments_that_are_no_object_are_not_run_and_not_sent_again(
    ended: Ended, store: Store, arguments: str
) -> None:
    server = Server()
    asked = run(server, calls("a", arguments=arguments), LATE)
    end = await ended(asked)
    assert (server.called, end.text, end.tool_calls[0].status) == ([], "Late.", "failed")
    assert "not a JSON object" in (end.tool_calls[0].result or "")
    assert asked.provider.asked[1][2]["messages"][1]["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [("null", {}), (" ", {}), (json.dumps('{"zone": "UTC"}'), {"zone": "UTC"})],
    ids=["null", "blank", "encoded twice"],
)
async def test_arguments_in_another_form_are_run_and_sent_as_an_object(
    ended: Ended, store: Store, arguments: str, wanted: dict[str, str]
) -> None:
    server = Server()
    asked = run(server, calls("a", arguments=arguments), LATE)
    await ended(asked)
    assert [called for _, called, _ in server.called] == [wanted]
    again = asked.provider.asked[1][2]["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(again) == wanted


async def test_a_name_that_no_tool_can_have_is_not_sent_as_it_is(ended: Ended, store: Store) -> None:
    asked = run(Server(), calls("a", name="functions.clock<|channel|>json"), LATE)
    end = await ended(asked)
    assert end.tool_calls[0].name == "functions.clock<|channel|>json"
    function = asked.provider.asked[1][2]["messages"][1]["tool_calls"][0]["function"]
    assert function["name"] == "functions_clock__channel__json"


async def test_a_call_of_a_tool_that_nobody_has_is_for_the_model_to_deal_with(ended: Ended, store: Store) -> None:
    server = Server()
    asked = run(server, calls("a", name="sundial"), LATE)
    end = await ended(asked)
    assert (end.outcome, end.text, end.finish_reason, server.called) == ("complete", "Late.", "stop", [])
    (call,) = end.tool_calls
    assert (call.server, call.status, call.result) == (UNKNOWN, "failed", "There is no tool named sundial.")
    assert sent(asked, 1)[-1] == ("tool", "There is no tool named sundial.")


async def test_rounds_are_limited(ended: Ended, store: Store) -> None:
    server = Server()
    asked = run(server, calls("a"), calls("b"), calls("c"), mcp_rounds=2)
    end = await ended(asked)
    assert [members.get("tool_choice") for _, _, members in asked.provider.asked] == [None, None, "none"]
    assert len(server.called) == 2
    assert (end.outcome, end.finish_reason) == ("complete", "length")
    assert [call.status for call in end.tool_calls] == ["complete", "complete", "failed"]


async def test_no_call_runs_whose_result_has_no_place(ended: Ended, store: Store) -> None:
    server = Server("x" * 700_000)
    end = await ended(run(server, calls("a", "b", "c"), LATE))
    assert (end.outcome, end.finish_reason, len(server.called)) == ("complete", "length", 1)
    assert [call.status for call in end.tool_calls] == ["complete", "failed", "failed"]


async def test_of_fifty_calls_at_once_the_first_are_run(ended: Ended, store: Store) -> None:
    server = Server()
    asked = run(server, calls(*(f"c{number}" for number in range(50))), LATE)
    end = await ended(asked)
    assert (end.text, len(server.called)) == ("Late.", 32)
    assert [call.status for call in end.tool_calls] == ["complete"] * 32 + ["failed"] * 18
    assert len(sent(asked, 1)) == 52


async def test_a_large_result_ends_the_answer_at_its_limit(ended: Ended, store: Store) -> None:
    end = await ended(run(Server("x" * 700_000), calls("a"), LATE))
    assert (end.outcome, end.finish_reason) == ("complete", "length")
    assert 500_000 < len(end.tool_calls[0].result or "") < 700_000


async def test_stop_ends_a_running_call(ended: Ended, store: Store) -> None:
    asked: Run
    cancelled = False

    async def hang() -> ToolResult:
        nonlocal cancelled
        asked.generation.stop()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise
        raise AssertionError

    asked = run(Server(hang), calls("a", "b", text="So"), LATE)
    end = await ended(asked)
    assert (end.outcome, end.text, cancelled) == ("stopped", "So", True)
    assert [(call.status, call.result) for call in end.tool_calls] == [("failed", ENDED_BEFORE)] * 2


async def test_an_attempt_that_is_not_the_current_one_publishes_no_end(ended: Ended, store: Store) -> None:
    store.errors = [RpcRefused("conflict", "not the current attempt", None, None)]
    server = Server()
    with pytest.raises(LeaseLost):
        await run(server, calls("a"), LATE).generation.run()
    assert server.called == []


async def test_storing_a_round_is_repeated_while_chat_store_is_away(ended: Ended, store: Store) -> None:
    store.errors = [BusUnavailable("away"), RpcRefused("unavailable", "", None, None)]
    end = await ended(run(Server(), calls("a"), LATE))
    assert (end.text, store.statuses[0]) == ("Late.", (0, ["running"]))


async def test_an_error_after_a_round_is_retried_without_a_new_attempt(ended: Ended, store: Store) -> None:
    server = Server()
    broken: list[bytes] = [b'data: {"error": {"message": "overloaded", "code": 503}}\n\n']
    end = await ended(run(server, calls("a"), broken, LATE))
    assert (end.outcome, end.attempt, end.text, len(server.called)) == ("complete", 1, "Late.", 1)


# --- tools of the client ----------------------------------------------------------------------------------------------


def own(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


async def test_a_call_of_the_clients_tool_ends_the_answer(ended: Ended, store: Store) -> None:
    server = Server()
    asked = run(server, calls("a", name="dice"), LATE)
    asked.claims.parameters = {"tools": [own("dice")]}
    end = await ended(asked)
    assert (end.finish_reason, server.called, store.stored) == ("tool_calls", [], [])
    assert end.tool_calls == [ToolCall(id="a", name="dice", arguments='{"zone":"UTC"}')]
    assert asked.provider.asked[0][2]["tools"] == [own("dice"), own("clock")]


async def test_calls_of_both_run_parleys_and_end_the_answer(ended: Ended, store: Store) -> None:
    entries = [
        {"index": i, "id": n, "function": {"name": n, "arguments": "{}"}} for i, n in enumerate(("dice", "clock"))
    ]
    server = Server()
    asked = run(server, [chunk(tool_calls=entries), chunk("tool_calls"), DONE], LATE)
    asked.claims.parameters = {"tools": [own("dice")]}
    end = await ended(asked)
    assert (end.finish_reason, len(asked.provider.asked), len(server.called)) == ("tool_calls", 1, 1)
    assert [(call.name, call.status, call.result) for call in end.tool_calls] == [
        ("dice", "called", None),
        ("clock", "complete", "Noon."),
    ]


async def test_a_tool_of_the_client_goes_before_one_of_the_same_name(ended: Ended, store: Store) -> None:
    asked = run(Server(), calls("a"), LATE)
    asked.claims.parameters = {"tools": [own("clock")]}
    end = await ended(asked)
    assert end.tool_calls[0].server is None
    assert asked.provider.asked[0][2]["tools"] == [own("clock")]


NO_TOOLS = error_mapping.from_status(400, b'{"error": "gemma3 does not support tools"}', {}, model="m")


async def test_a_model_that_takes_no_tools_is_asked_without_parleys(ended: Ended, store: Store) -> None:
    server = Server()
    asked = run(server, NO_TOOLS, LATE)
    end = await ended(asked)
    assert (end.outcome, end.text, end.attempt, server.refused) == ("complete", "Late.", 1, ["m"])
    assert ["tools" in members for _, _, members in asked.provider.asked] == [True, False]


@pytest.mark.parametrize("scripts", [[NO_TOOLS], [calls("a"), NO_TOOLS]], ids=["the client's", "after a call"])
async def test_a_model_that_takes_no_tools_fails_an_answer_that_needs_them(
    ended: Ended, store: Store, scripts: list[Any]
) -> None:
    asked = run(Server(), *scripts)
    if len(scripts) == 1:
        asked.claims.parameters = {"tools": [{"type": "function", "function": {"name": "clock"}}]}
    end = await ended(asked)
    assert end.error is not None
    assert (end.error.retryable, "cannot call tools" in end.error.message) == (False, True)
    assert len(asked.provider.asked) == len(scripts)


async def test_a_required_call_is_required_once(ended: Ended, store: Store) -> None:
    asked = run(Server(), calls("a"), LATE)
    asked.claims.parameters = {"tool_choice": "required"}
    await ended(asked)
    assert [members.get("tool_choice") for _, _, members in asked.provider.asked] == ["required", None]


async def test_without_tools_nothing_is_said_about_their_calls(ended: Ended, store: Store) -> None:
    asked = run(Server(), LATE)
    asked.claims.parameters = {"tools": [], "tool_choice": "none", "parallel_tool_calls": False, "top_p": 1}
    await ended(asked)
    members = asked.provider.asked[0][2]
    assert members["top_p"] == 1
    assert not members.keys() & {"tools", "tool_choice", "parallel_tool_calls"}


async def test_no_tools_are_offered_where_none_may_be_called(ended: Ended, store: Store) -> None:
    asked = run(Server(), LATE)
    asked.claims.parameters = {"tool_choice": "none"}
    await ended(asked)
    assert "tools" not in asked.provider.asked[0][2]


# --- takeover ---------------------------------------------------------------------------------------------------------


def done(call_id: str, **fields: Any) -> ToolCall:
    return ToolCall(id=call_id, name="clock", arguments="{}", server="time", **fields)


async def test_a_takeover_goes_on_behind_the_completed_calls(ended: Ended, store: Store) -> None:
    server = Server()
    stored = ToolRound(text="One moment.", calls=[done("a", status="complete", result="Noon.", seconds=0.5)])
    asked = run(server, LATE, rounds=[stored])
    end = await ended(asked)
    assert (server.called, store.stored) == ([], [])
    assert (end.text, end.tool_calls) == ("One moment.Late.", stored.calls)
    assert sent(asked, 0)[1:] == [("assistant", ["a"]), ("tool", "Noon.")]
    assert asked.live.text() == end.text, "readers get it as the first chunks of the attempt"


async def test_a_takeover_runs_only_calls_without_a_result_with_the_same_key(ended: Ended, store: Store) -> None:
    server = Server("Two.")
    rounds = [
        ToolRound(calls=[done("a", status="complete", result="One.")]),
        ToolRound(calls=[done("b", status="failed", result="No."), done("c", status="running"), done("d")]),
    ]
    asked = run(server, LATE, rounds=rounds)
    end = await ended(asked)
    assert [key for _, _, key in server.called] == [f"{end.generation_id}:1:{call_id}" for call_id in ("c", "d")]
    assert [call.result for call in end.tool_calls] == ["One.", "No.", "Two.", "Two."]
    assert {request.number for request in store.stored} == {1}
    assert sent(asked, 0)[-1] == ("tool", "Two.")


async def test_a_takeover_of_an_answer_that_ends_with_calls_of_the_client_asks_nothing(
    ended: Ended, store: Store
) -> None:
    stored = ToolRound(calls=[done("a", status="running"), ToolCall(id="b", name="dice", arguments="{}")])
    asked = run(Server(), LATE, rounds=[stored])
    end = await ended(asked)
    assert (end.finish_reason, asked.provider.asked) == ("tool_calls", [])
    assert [call.result for call in end.tool_calls] == ["Noon.", None]


async def test_a_new_attempt_of_the_same_worker_begins_with_its_rounds(ended: Ended, store: Store) -> None:
    server = Server()
    broken = [chunk(content="La"), b'data: {"error": {"message": "overloaded", "code": 503}}\n\n']
    asked = run(server, calls("a"), broken, LATE)
    asked.claims.rounds_of = lambda: [store.stored[-1].round] if store.stored else []
    end = await ended(asked)
    assert (end.attempt, end.text, len(server.called), len(end.tool_calls)) == (2, "Late.", 1, 1)


# --- approval ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("approved", [True, False])
async def test_a_call_waits_for_the_users_decision(ended: Ended, store: Store, approved: bool) -> None:
    server = Server(approval="always")
    asked = run(server, calls("a"), LATE)
    ending = asyncio.ensure_future(ended(asked))
    await eventually(lambda: store.statuses == [(0, ["awaiting_approval"])])
    assert server.called == []
    asked.generation.decide("a", approved=approved)
    end = await ending
    assert len(server.called) == approved
    (call,) = end.tool_calls
    assert (call.status, call.result) == (("complete", "Noon.") if approved else ("denied", tool_rounds.DENIED))
    assert json.loads(json.dumps(sent(asked, 1)[-1])) == ["tool", call.result]


async def test_a_decision_whose_signal_was_lost_comes_with_the_round(
    ended: Ended, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_rounds, "_DECISION_INTERVAL", 0.02)
    server = Server(approval="always")
    asked = run(server, calls("a"), LATE)
    ending = asyncio.ensure_future(ended(asked))
    await eventually(lambda: len(store.stored) > 2)
    assert server.called == []
    store.decisions = {"a": True}
    assert (await ending).tool_calls[0].status == "complete"


async def test_a_decision_from_before_a_takeover_counts(ended: Ended, store: Store) -> None:
    server = Server(approval="always")
    asked = run(server, LATE, rounds=[ToolRound(calls=[done("a", status="awaiting_approval")])])
    asked.claims.decisions = {"a": False}
    end = await ended(asked)
    assert (end.tool_calls[0].status, server.called) == ("denied", [])


async def test_a_call_that_nobody_decides_on_is_denied(ended: Ended, store: Store) -> None:
    server = Server(approval=["get-*"], approval_timeout=0.05)
    end = await ended(run(server, calls("a"), LATE))
    assert (end.tool_calls[0].status, server.called, end.text) == ("denied", [], "Late.")


async def test_a_call_that_was_approved_before_a_takeover_is_not_asked_for_again(ended: Ended, store: Store) -> None:
    server = Server(approval="always")
    end = await ended(run(server, LATE, rounds=[ToolRound(calls=[done("a", status="running")])]))
    assert (end.tool_calls[0].status, len(server.called)) == ("complete", 1)
