"""The events of an answer as chunks of the AI SDK's UI message stream. No I/O.

The protocol: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol (``x-vercel-ai-ui-message-stream: v1``).
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from gateway.answers.events import (
    AnswerEvent,
    AttemptStarted,
    CallChanged,
    Ended,
    PartDelta,
    PartEnded,
    PartStarted,
    Requested,
    result_text,
)
from gateway.errors import GatewayError, Unavailable
from parley.contracts.completion import ContextMessage, ToolCall
from parley.contracts.resources import Message

HEADERS: Final = {"x-vercel-ai-ui-message-stream": "v1"}
DONE: Final = b"data: [DONE]\n\n"

_FINISH_REASONS: Final = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool-calls",
    "content_filter": "content-filter",
}

_encode = msgspec.json.Encoder().encode


def chunk(type: str, **members: Any) -> bytes:
    return b"data: %b\n\n" % _encode({"type": type, **members})


def error_chunk(error: GatewayError) -> bytes:
    """Return the chunk that ends an incomplete stream: the client's status becomes ``error``."""
    return chunk("error", errorText=error.detail)


class UIMessageChunks:
    """Makes the chunks of one UI message: of an answer, or of several with the results of tools between them.

    Args:
        message_id: The id of the UI message, which is its first answer's; None: the first answer is encoded here.
    """

    def __init__(self, message_id: str | None = None) -> None:
        self._id = message_id
        self._has_started = False
        self._answer_id = ""
        self._sent_parts = False
        self._available: set[str] = set()  # calls whose input the client has
        self._delta = b""

    def encode(self, event: AnswerEvent, *, is_last: bool = True) -> bytes:
        """Return the chunks for an event; empty if the protocol has none.

        Args:
            is_last: Whether the answer is the last one of the message.

        Raises:
            GatewayError: the answer is not complete, or an attempt that was partly sent was dropped.
        """
        match event:
            case PartDelta(kind="tool"):
                return chunk("tool-input-delta", toolCallId=event.call_id, inputTextDelta=event.text)
            case PartDelta():
                return b"%b%b}\n\n" % (self._delta, _encode(event.text))
            case PartStarted():
                self._sent_parts = True
                return self._start_part(event)
            case PartEnded() if event.kind != "tool":
                return chunk(f"{event.kind}-end", id=self._part_id(event.index))
            case CallChanged():
                return self._change(event.call)
            case Requested():
                return self._start_answer(event.message)
            case AttemptStarted() if self._sent_parts:
                raise Unavailable(
                    "The answer is being written again, from its beginning. Resume it to read it as it is now."
                )
            case Ended():
                return self._end(event.message, is_last=is_last)
            case _:
                return b""

    def results(self, context: Sequence[ContextMessage]) -> bytes:
        """Return the chunks of the results that the client sent for the calls of the previous answer."""
        return b"".join(
            chunk("tool-output-available", toolCallId=message.tool_call_id, output=_json_or_text(message.content))
            for message in context
            if message.role == "tool"
        )

    def _start_answer(self, message: Message) -> bytes:
        self._answer_id = message.id
        self._sent_parts = False
        start = b"" if self._has_started else chunk("start", messageId=self._id or message.id)
        self._has_started = True
        return start + chunk("start-step")

    def _start_part(self, event: PartStarted) -> bytes:
        if event.call is not None:
            return chunk("tool-input-start", toolCallId=event.call.id, toolName=event.call.name, **_origin(event.call))
        part_id = self._part_id(event.index)
        self._delta = b'data: {"type":"%b-delta","id":%b,"delta":' % (event.kind.encode(), _encode(part_id))
        return chunk(f"{event.kind}-start", id=part_id)

    def _part_id(self, index: int) -> str:
        return f"{self._answer_id}-{index}"

    def _change(self, call: ToolCall) -> bytes:
        match call.status:
            case "complete":
                output = _json_or_text(result_text(call))
                result = chunk("tool-output-available", toolCallId=call.id, output=output, **_origin(call))
            case "failed" | "denied":
                # Not tool-output-denied: version 5 has none, and later ones only for approvals that they asked for.
                text = result_text(call)
                result = chunk("tool-output-error", toolCallId=call.id, errorText=text, **_origin(call))
            case _:
                data = {"toolCallId": call.id, "status": call.status}
                result = chunk("data-parley-tool-call", data=data, transient=True)
        return self._input(call) + result

    def _input(self, call: ToolCall) -> bytes:
        """Return the chunk of a call's whole input, once."""
        if call.id in self._available:
            return b""
        self._available.add(call.id)
        members = {"toolCallId": call.id, "toolName": call.name, **_origin(call)}
        try:
            return chunk("tool-input-available", input=msgspec.json.decode(call.arguments or "{}"), **members)
        except msgspec.DecodeError:
            text = "The model's arguments are not JSON."
            return chunk("tool-input-error", input=call.arguments, errorText=text, **members)

    def _end(self, message: Message, *, is_last: bool) -> bytes:
        if message.role == "user" or message.status == "failed":
            raise Unavailable(message.error.message if message.error is not None else "The message was deleted.")
        if message.status == "stopped":
            # Without a reason: earlier versions refuse the member.
            return chunk("abort") + DONE
        # The client runs its tools when it has their input, and sends the results: the answer has to be stored then.
        calls = [call for call in message.tool_calls if call.server is None]
        end = b"".join(map(self._input, calls)) + chunk("finish-step")
        if not is_last:
            return end
        reason = _FINISH_REASONS.get(message.finish_reason or "", "other" if message.finish_reason else "stop")
        return end + chunk("finish", finishReason="tool-calls" if calls else reason) + DONE


def _origin(call: ToolCall) -> dict[str, bool]:
    """Return the members for a tool that Parley runs: the client has no type for it."""
    return {} if call.server is None else {"providerExecuted": True, "dynamic": True}


def _json_or_text(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
