"""Behaviours by the model's name.

============================  =========================================================================================
``demo``                      Markdown at about 40 tokens/s
``demo-fast``                 the same without delays
``demo-slow``                 the same after two seconds, at 5 tokens/s
``demo-reasoning``            ``reasoning_content`` first
``demo-long``                 20,000 tokens at 500 tokens/s
``demo-rate-50x200``          200 different tokens at 50 tokens/s; any two numbers
``demo-timed-50x200``         the same, each token the time of its write (``time.monotonic_ns()``)
``demo-echo``                 the request, as JSON
``demo-tools``                a call of a tool, and an answer from its result
``demo-tools-3x2``            the same with three rounds of two calls; any two numbers
``demo-error-401``            wrong key
``demo-error-429``            too many requests, ``Retry-After: 1``
``demo-error-500``            an internal error of the provider
``demo-context-length``       the conversation is too long
``demo-error-content-filter`` the prompt is refused before any answer
``demo-refusal``              the answer is a refusal, and ends as ``content_filter``
``demo-error-mid-stream``     an error object after 20 tokens
``demo-cut``                  the connection ends after 20 tokens
``demo-stall``                silence after 20 tokens, until the client disconnects
``demo-stall-first``          silence before the first token
``demo-no-done``              the stream ends without ``[DONE]``
============================  =========================================================================================

``max_tokens`` and ``stop`` apply to all of them, ``seed`` to the ids of calls, and a ``response_format`` of JSON to the
answers in Markdown; the other parameters are ignored. ``demo-tools`` calls the tool that ``tool_choice`` names, those
that the prompt names, or the first; with the object that the prompt contains, or one that the tool's schema accepts.

With the suffix ``-once`` (or ``-x3``) a behaviour applies to the first (three) requests with a conversation, and
``demo-fast`` to the later ones. Any other name is not found.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec

from parley_cli.demo_model import answers, tools
from parley_cli.demo_model.request import ChatRequest

LISTED = ("demo", "demo-fast", "demo-slow", "demo-reasoning", "demo-long", "demo-echo", "demo-tools")
"""The models that ``/v1/models`` lists."""

_TOKENS_BEFORE_FAILURE = 20
_PARAMETERS = re.compile(r"demo-(rate|timed|tools)-(\d{1,6})x(\d{1,7})")
_TIMES = re.compile(r"(.+)-(?:once|x(\d{1,3}))")


class Kind(Enum):
    """What a token is part of: the field of the chunk's ``delta``."""

    TEXT = "content"
    REASONING = "reasoning_content"
    REFUSAL = "refusal"
    CALLS = "tool_calls"
    """Entries of tool calls, as JSON."""
    TIME = "time"
    """Text that contains the time of its writing."""


class End(Enum):
    """How a stream ends, when not with its last token."""

    ERROR = "an error object"
    CUT = "the connection closed"
    STALL = "never"
    NO_DONE = "without [DONE]"


Step = tuple[float, Kind, str]
"""Seconds after the step before, and a token."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An answer that is an error, in OpenAI's shape."""

    status: int
    message: str
    type: str
    code: str | None = None
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})


@dataclass(frozen=True, kw_only=True)
class Script:
    """An answer that is a stream."""

    steps: Iterable[Step]
    end: End | None = None
    finish_reason: str = "stop"


Behaviour = Callable[[ChatRequest], Script | Failure]


def until(stops: Sequence[str], steps: Iterable[Step]) -> Iterator[Step]:
    """Yield the steps up to the first of ``stops`` in the text; what may be its beginning waits for the next token."""
    rest = ""
    waited = 0.0
    for delay, kind, token in steps:
        waited += delay
        if kind is not Kind.TEXT:
            yield waited, kind, token
            waited = 0.0
            continue
        rest += token
        found = [start for stop in stops if (start := rest.find(stop)) >= 0]
        if found:
            yield waited, kind, rest[: min(found)]
            return
        sizes = ((stop, size) for stop in stops for size in range(min(len(stop), len(rest) + 1)))
        kept = max((size for stop, size in sizes if rest.endswith(stop[:size])), default=0)
        if kept < len(rest):
            yield waited, kind, rest[: len(rest) - kept]
            rest, waited = rest[len(rest) - kept :], 0.0
    if rest:
        yield waited, Kind.TEXT, rest


def times_of(model: str) -> tuple[str, int | None]:
    """Return a behaviour's name and how often it applies: ``("demo-cut", 1)`` for ``demo-cut-once``; None: always."""
    match = _TIMES.fullmatch(model)
    if match is None or match[1] not in _BEHAVIOURS:
        return model, None
    return match[1], int(match[2] or 1)


def behaviour(name: str) -> Behaviour | None:
    """Return the behaviour of that name (without ``-once``)."""
    if match := _PARAMETERS.fullmatch(name):
        kind, rate, count = match[1], int(match[2]), int(match[3])
        if rate == 0 or count == 0:
            return None
        if kind == "tools":
            return lambda request: _tools(request, rate, count)
        if kind == "timed":
            return lambda request: _timed(rate, count)
        return lambda request: _rate(request, rate, count)
    return _BEHAVIOURS.get(name)


def not_found(model: str) -> Failure:
    return Failure(
        status=404,
        message=f"The model `{model}` does not exist or you do not have access to it.",
        type="invalid_request_error",
        code="model_not_found",
    )


WRONG_KEY = Failure(
    status=401, message="Incorrect API key provided.", type="invalid_request_error", code="invalid_api_key"
)
SERVER_ERROR = Failure(
    status=500, message="The server had an error while processing your request. Sorry about that!", type="server_error"
)


# --- the behaviours ---------------------------------------------------------------------------------------------------


def _at_rate(pieces: Iterable[str], rate: float, kind: Kind = Kind.TEXT, first: float | None = None) -> Iterator[Step]:
    delay = 1 / rate
    for number, piece in enumerate(pieces):
        yield (first if number == 0 and first is not None else delay), kind, piece


def _uneven(pieces: Iterable[str], rate: float) -> Iterator[Step]:
    """Yield steps like :func:`_at_rate`, with delays that vary, the same in each answer."""
    draw = random.Random(7)
    for piece in pieces:
        yield draw.uniform(0.4, 1.6) / rate, Kind.TEXT, piece


def _at_once(pieces: Iterable[str]) -> Iterator[Step]:
    return ((0.0, Kind.TEXT, piece) for piece in pieces)


def _answer(request: ChatRequest) -> list[str]:
    match (request.response_format or {}).get("type"):
        case "json_object":
            return answers.tokens(json.dumps({"answer": request.prompt}, ensure_ascii=False))
        case "json_schema":
            schema = (request.response_format or {}).get("json_schema", {}).get("schema", {})
            return answers.tokens(json.dumps(tools.example(schema, request.prompt), ensure_ascii=False))
    return answers.tokens(answers.answer(request.prompt, request.turns))


def _demo(request: ChatRequest) -> Script:
    return Script(steps=_uneven(_answer(request), 40))


def _fast(request: ChatRequest) -> Script:
    return Script(steps=_at_once(_answer(request)))


def _slow(request: ChatRequest) -> Script:
    return Script(steps=_at_rate(_answer(request), 5, first=2.0))


def _reasoning(request: ChatRequest) -> Script:
    def steps() -> Iterator[Step]:
        yield from _at_rate(answers.tokens(answers.reasoning(request.prompt)), 60, Kind.REASONING)
        yield from _uneven(_answer(request), 60)

    return Script(steps=steps())


def _rate(request: ChatRequest, rate: int, count: int) -> Script:
    return Script(steps=_at_rate(answers.numbered(count, request.prompt), rate))


def _timed(rate: int, count: int) -> Script:
    return Script(steps=_at_rate(("" for _ in range(count)), rate, Kind.TIME))


def _echo(request: ChatRequest) -> Script:
    return Script(steps=_at_once(answers.tokens(msgspec.json.encode(msgspec.json.decode(request.body)).decode())))


def _tools(request: ChatRequest, rounds: int = 1, count: int = 1) -> Script:
    functions = tools.choose(request, count) if tools.rounds(request) < rounds else []
    if functions:
        return Script(steps=_at_once_calls(request, functions), finish_reason="tool_calls")
    if found := tools.results(request):
        return Script(steps=_at_once(answers.tokens(f"The tools returned: {', '.join(found)}")))
    return _fast(request)


def _at_once_calls(request: ChatRequest, functions: Iterable[dict[str, Any]]) -> Iterator[Step]:
    """Yield the calls as OpenAI streams them: the name, then the arguments in pieces."""
    draw = random.Random(request.seed)

    def step(entry: dict[str, Any]) -> Step:
        return 0.0, Kind.CALLS, json.dumps([entry])

    for index, function in enumerate(functions):
        head = {"name": function.get("name", ""), "arguments": ""}
        yield step({"index": index, "id": f"call_{draw.randbytes(9).hex()}", "type": "function", "function": head})
        for piece in answers.tokens(tools.arguments(function, request.prompt)):
            yield step({"index": index, "function": {"arguments": piece}})


def _refusal(request: ChatRequest) -> Script:
    steps = _at_rate(answers.tokens(answers.refusal(request.prompt)), 100, Kind.REFUSAL)
    return Script(steps=steps, finish_reason="content_filter")


def _breaking(end: End, before: int = _TOKENS_BEFORE_FAILURE) -> Behaviour:
    return lambda request: Script(steps=_at_rate(_answer(request)[:before], 100), end=end)


def _failing(failure: Failure) -> Behaviour:
    return lambda request: failure


_BEHAVIOURS: dict[str, Behaviour] = {
    "demo": _demo,
    "demo-fast": _fast,
    "demo-slow": _slow,
    "demo-reasoning": _reasoning,
    "demo-long": lambda request: _rate(request, 500, 20_000),
    "demo-echo": _echo,
    "demo-tools": _tools,
    "demo-refusal": _refusal,
    "demo-error-mid-stream": _breaking(End.ERROR),
    "demo-cut": _breaking(End.CUT),
    "demo-stall": _breaking(End.STALL),
    "demo-stall-first": _breaking(End.STALL, before=0),
    "demo-no-done": lambda request: Script(steps=_at_once(_answer(request)), end=End.NO_DONE),
    "demo-error-401": _failing(WRONG_KEY),
    "demo-error-429": _failing(
        Failure(
            status=429,
            message="Rate limit reached for requests.",
            type="requests",
            code="rate_limit_exceeded",
            headers={"Retry-After": "1"},
        )
    ),
    "demo-error-500": _failing(SERVER_ERROR),
    "demo-error-content-filter": _failing(
        Failure(
            status=400,
            message="The response was filtered due to the prompt triggering content management policy.",
            type="invalid_request_error",
            code="content_filter",
            param="prompt",
        )
    ),
    "demo-context-length": _failing(
        Failure(
            status=400,
            message="This model's maximum context length is 4096 tokens. Please reduce the length of the messages.",
            type="invalid_request_error",
            code="context_length_exceeded",
            param="messages",
        )
    ),
}
