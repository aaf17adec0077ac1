"""The events of an answer as events of an AG-UI run. No I/O.

The protocol: https://docs.ag-ui.com (version 1). The ``id`` of each event is its number, with which a reader resumes
(``Last-Event-ID``).
"""

from typing import Any

import msgspec

from gateway.answers.events import (
    CALL_ENDED,
    AnswerEvent,
    AttemptStarted,
    CallChanged,
    Ended,
    PartDelta,
    PartEnded,
    PartStarted,
    Requested,
    attempt_of,
    result_text,
)
from gateway.errors import GatewayError, Unavailable
from parley.contracts.resources import Message

_encode = msgspec.json.Encoder().encode


def error_event(error: GatewayError) -> bytes:
    """Return the event that ends an incomplete stream. It has no number: the reader can resume after the last one."""
    return b"data: %b\n\n" % _encode({"type": "RUN_ERROR", "message": error.detail, "code": error.code})


class RunEvents:
    """Makes the events of one run.

    Args:
        answer_id: The prefix of the ids of messages.
        after: The number up to which the reader has everything; -1: nothing.
        has_cancelled: Whether the reader's version of the protocol has the outcome ``cancelled``.
    """

    def __init__(
        self, *, thread_id: str, run_id: str, answer_id: str, after: int = -1, has_cancelled: bool = True
    ) -> None:
        self._run = {"threadId": thread_id, "runId": run_id}
        self._answer_id = answer_id
        self._after = after
        self._has_cancelled = has_cancelled
        self._sent_parts = False

    def encode(self, event: AnswerEvent) -> bytes:
        """Return the events for an event of the answer, without those that the reader has.

        Raises:
            GatewayError: an attempt that was partly sent was dropped.
        """
        match event:
            case PartDelta():
                return self._send(event.number, self._delta(event))
            case PartStarted():
                self._sent_parts = True
                return self._send(event.number, *self._start(event))
            case PartEnded():
                return self._send(event.number, *self._end(event))
            case CallChanged():
                return self._change(event)
            case Requested():
                return self._send(event.number, {"type": "RUN_STARTED", **self._run})
            case AttemptStarted() if self._sent_parts:
                raise Unavailable("The answer is being written again, from its beginning.", code="attempt_dropped")
            case AttemptStarted() if event.attempt > 1:
                value = {"attempt": event.attempt}
                return self._send(event.number, {"type": "CUSTOM", "name": "parley.attempt", "value": value})
            case Ended():
                return self._finish(event.number, event.message)
            case _:
                return b""

    def _send(self, number: int, *events: dict[str, Any]) -> bytes:
        numbered = ((number + index, event) for index, event in enumerate(events))
        return b"".join(
            b"id: %d\ndata: %b\n\n" % (each, _encode(event)) for each, event in numbered if each > self._after
        )

    def _message_id(self, number: int, index: int) -> str:
        return f"{self._answer_id}-{attempt_of(number)}-{index}"

    def _delta(self, event: PartDelta) -> dict[str, Any]:
        if event.kind == "tool":
            return {"type": "TOOL_CALL_ARGS", "toolCallId": event.call_id, "delta": event.text}
        kind = "TEXT_MESSAGE_CONTENT" if event.kind == "text" else "REASONING_MESSAGE_CONTENT"
        return {"type": kind, "messageId": self._message_id(event.number, event.index), "delta": event.text}

    def _start(self, event: PartStarted) -> list[dict[str, Any]]:
        message_id = self._message_id(event.number, event.index)
        if event.call is not None:
            call = {"toolCallId": event.call.id, "toolCallName": event.call.name}
            return [{"type": "TOOL_CALL_START", **call, "parentMessageId": message_id}]
        if event.kind == "text":
            return [{"type": "TEXT_MESSAGE_START", "messageId": message_id, "role": "assistant"}]
        return [
            {"type": "REASONING_START", "messageId": message_id},
            {"type": "REASONING_MESSAGE_START", "messageId": message_id, "role": "reasoning"},
        ]

    def _end(self, event: PartEnded) -> list[dict[str, Any]]:
        message_id = self._message_id(event.number, event.index)
        if event.kind == "tool":
            return [{"type": "TOOL_CALL_END", "toolCallId": event.call_id}]
        if event.kind == "text":
            return [{"type": "TEXT_MESSAGE_END", "messageId": message_id}]
        return [
            {"type": "REASONING_MESSAGE_END", "messageId": message_id},
            {"type": "REASONING_END", "messageId": message_id},
        ]

    def _change(self, event: CallChanged) -> bytes:
        call = event.call
        if call.status not in CALL_ENDED:
            # Not numbered: only the current status is reported.
            value = {"toolCallId": call.id, "status": call.status}
            return b"data: %b\n\n" % _encode({"type": "CUSTOM", "name": "parley.tool_call", "value": value})
        result = {
            "type": "TOOL_CALL_RESULT",
            "messageId": f"{self._message_id(event.number, event.index)}-result",
            "toolCallId": call.id,
            "content": result_text(call),
            "role": "tool",
        }
        return self._send(event.number, result)

    def _finish(self, number: int, message: Message) -> bytes:
        if message.role == "user" or message.status == "failed":
            error = message.error
            text, code = ("The message was deleted.", "deleted") if error is None else (error.message, error.code)
            return self._send(number, {"type": "RUN_ERROR", "message": text, "code": code})
        # Readers derive the calls that wait for their results: pendingToolCallIds is an error before version 1.0.
        is_cancelled = message.status == "stopped" and self._has_cancelled
        outcome = {"type": "cancelled" if is_cancelled else "success"}
        return self._send(number, {"type": "RUN_FINISHED", **self._run, "outcome": outcome})
