"""Events of answers for tests of protocols: made as the gateway makes them, from stored messages and from frames."""

from datetime import UTC, datetime
from typing import Any

from gateway.answers.events import AnswerEvent
from gateway.answers.numbering import AnswerNumbers
from parley.contracts import frames
from parley.contracts.completion import Span, ToolCall
from parley.contracts.resources import Message, MessageError

CHAT, PROMPT, ANSWER = (f"0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a{number}" for number in (11, 12, 13))

CLIENTS_CALL = ToolCall(id="call_1", name="clock", arguments='{"zone": "UTC"}')
PARLEYS_CALL = ToolCall(
    id="call_2", name="search", arguments='{"q": 1}', server="web", status="complete", result='{"hits": 3}', seconds=0.2
)


def answer(**fields: Any) -> Message:
    """An answer that is complete."""
    base: dict[str, Any] = {
        "id": ANSWER,
        "chat_id": CHAT,
        "parent_id": PROMPT,
        "role": "assistant",
        "author_id": None,
        "content": "Noon.",
        "reasoning": "",
        "status": "complete",
        "model": "demo",
        "error": None,
        "usage": None,
        "created_at": datetime(2026, 11, 29, tzinfo=UTC),
        "version": 4,
        "finish_reason": "stop",
        "attempt": 1,
    }
    return Message(**(base | fields))


def prompt(**fields: Any) -> Message:
    base = {"id": PROMPT, "parent_id": None, "role": "user", "content": "When?", "status": "sent", "attempt": 0}
    return answer(**(base | {"finish_reason": None, "model": None} | fields))


def failed(text: str) -> Message:
    return answer(
        status="failed", content="No", error=MessageError(code="provider_error", message=text, retryable=True)
    )


def with_everything() -> Message:
    """Reasoning, text, a call of each kind, and text."""
    layout = [Span("reasoning", 2), Span("text", 5), Span("tool"), Span("text", 4), Span("tool")]
    calls = [PARLEYS_CALL, CLIENTS_CALL]
    return answer(content="Look:Now ", reasoning="Hm", tool_calls=calls, layout=layout, finish_reason="tool_calls")


def stored(message: Message, after: int = -1) -> list[AnswerEvent]:
    """The events of a message that is read from the store."""
    return AnswerNumbers(message.id, after).stored(message)


def live(*attempts: str) -> list[AnswerEvent]:
    """The events of an answer that runs: the text of each attempt, one chunk for each character."""
    numbers = AnswerNumbers(ANSWER)
    events = numbers.stored(answer(status="pending", content="", attempt=0))
    for attempt, text in enumerate(attempts, start=1):
        common: dict[str, Any] = {"chat_id": CHAT, "generation_id": "g", "attempt": attempt}
        events += numbers.apply(frames.Generation(message_id=ANSWER, status="started", **common))
        for seq, character in enumerate(text, start=1):
            events += numbers.apply(frames.Delta(from_=seq, to=seq, kind="text", text=character, **common))
    return events
