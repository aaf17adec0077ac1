"""Rules for rounds of tools: decisions about calls that wait for approval."""

import msgspec
from msgspec.structs import replace

from chat_store.errors import Conflict, NotFound
from parley.contracts.completion import ToolRound


class StoredRound(msgspec.Struct, frozen=True, kw_only=True):
    """A round of a running answer.

    Attributes:
        decisions: Whether a call was approved, by its id.
    """

    number: int
    round: ToolRound
    decisions: dict[str, bool] = {}


def decide(rounds: list[StoredRound], call_id: str, *, approve: bool) -> StoredRound | None:
    """Return the round of the call with the decision added; None: the same decision was made before.

    Raises:
        NotFound: there is no such call.
        Conflict: it was decided otherwise, or does not wait for approval.
    """
    for stored in rounds:
        for call in stored.round.calls:
            if call.id != call_id:
                continue
            decided = stored.decisions.get(call_id)
            if decided == approve:
                return None
            if decided is not None:
                raise Conflict("The call was approved before." if decided else "The call was denied before.")
            if call.status != "awaiting_approval":
                raise Conflict("The call does not wait for approval.")
            return replace(stored, decisions={**stored.decisions, call_id: approve})
    raise NotFound("There is no such call of a tool in this answer.")


def decisions_of(rounds: list[StoredRound]) -> dict[str, bool]:
    return {call_id: approved for stored in rounds for call_id, approved in stored.decisions.items()}
