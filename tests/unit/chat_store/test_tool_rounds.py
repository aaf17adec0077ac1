"""Decisions about calls of tools that wait for approval."""

import pytest

from chat_store.domain.tool_rounds import StoredRound, decide, decisions_of
from chat_store.errors import Conflict, NotFound
from parley.contracts.completion import ToolCall, ToolRound, ToolStatus


def _round(number: int, status: ToolStatus, decisions: dict[str, bool] | None = None) -> StoredRound:
    call = ToolCall(id=f"call_{number}", name="time", server="clock", status=status)
    return StoredRound(number=number, round=ToolRound(calls=[call]), decisions=decisions or {})


def test_a_call_that_waits_is_decided_once() -> None:
    rounds = [_round(0, "complete"), _round(1, "awaiting_approval")]
    decided = decide(rounds, "call_1", approve=False)
    assert decided is not None
    assert (decided.number, decided.decisions) == (1, {"call_1": False})
    assert decide([rounds[0], decided], "call_1", approve=False) is None
    with pytest.raises(Conflict):
        decide([rounds[0], decided], "call_1", approve=True)


@pytest.mark.parametrize("status", ["called", "running", "complete", "failed", "denied"])
def test_a_call_that_does_not_wait_is_not_decided(status: ToolStatus) -> None:
    with pytest.raises(Conflict):
        decide([_round(0, status)], "call_0", approve=True)


def test_the_same_decision_again_is_accepted_also_when_the_call_runs() -> None:
    assert decide([_round(0, "running", {"call_0": True})], "call_0", approve=True) is None


def test_an_unknown_call_is_not_found() -> None:
    with pytest.raises(NotFound):
        decide([_round(0, "awaiting_approval")], "call_1", approve=True)


def test_the_decisions_of_all_rounds_are_joined() -> None:
    rounds = [_round(0, "complete", {"call_0": True}), _round(1, "denied", {"call_1": False}), _round(2, "running")]
    assert decisions_of(rounds) == {"call_0": True, "call_1": False}
