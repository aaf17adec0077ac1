"""Chunks of a streamed chat completion, as bytes ready for the socket: JSON, in an SSE event, in an HTTP chunk."""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec

from parley_cli.demo_model.behaviours import Kind
from parley_cli.demo_model.request import ChatRequest

_encode = msgspec.json.encode

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
LAST = b"0\r\n\r\n"


def framed(event: bytes) -> bytes:
    """One SSE event in one HTTP chunk."""
    return b"%x\r\ndata: %b\n\n\r\n" % (len(event) + 8, event)


DONE = framed(b"[DONE]")


class ChunkWriter:
    """Makes the chunks of one answer. All but the token is prepared once."""

    def __init__(self, request: ChatRequest) -> None:
        self.id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._model = request.model
        usage = b',"usage":null' if request.include_usage else b""
        self._head = b'{"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[' % (
            _encode(self.id),
            self._created,
            _encode(self._model),
        )
        self._before: dict[Kind, bytes] = {
            kind: self._head + b'{"index":0,"delta":{"%b":' % kind.value.encode()
            for kind in Kind
            if kind is not Kind.TIME
        }
        self._after = b'},"logprobs":null,"finish_reason":null}]%b}' % usage
        self._usage = usage

    def role(self) -> bytes:
        """The first chunk."""
        return framed(self._head + b'{"index":0,"delta":{"role":"assistant","content":""' + self._after)

    def token(self, kind: Kind, text: str) -> bytes:
        if kind is Kind.TIME:
            kind, text = Kind.TEXT, f"{time.monotonic_ns()} "
        return framed(self._before[kind] + (text.encode() if kind is Kind.CALLS else _encode(text)) + self._after)

    def finish(self, reason: str) -> bytes:
        return framed(
            self._head
            + b'{"index":0,"delta":{},"logprobs":null,"finish_reason":%b}]%b}' % (_encode(reason), self._usage)
        )

    def usage(self, prompt_tokens: int, completion_tokens: int) -> bytes:
        """The chunk that ``stream_options.include_usage`` requests."""
        return framed(self._head + b'],"usage":%b}' % _encode(usage_of(prompt_tokens, completion_tokens)))

    def whole(
        self,
        texts: dict[Kind, str],
        calls: list[dict[str, Any]],
        reason: str,
        prompt_tokens: int,
        completion_tokens: int,
    ) -> bytes:
        """The answer to a request that does not stream."""
        message: dict[str, Any] = {"role": "assistant", "content": texts.get(Kind.TEXT)}
        if calls:
            message["tool_calls"] = calls
        message |= {kind.value: text for kind, text in texts.items() if kind is not Kind.TEXT}
        return _encode(
            {
                "id": self.id,
                "object": "chat.completion",
                "created": self._created,
                "model": self._model,
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
                "usage": usage_of(prompt_tokens, completion_tokens),
            }
        )


def usage_of(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
