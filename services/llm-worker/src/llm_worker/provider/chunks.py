"""Reads one chunk of a streamed completion leniently. No I/O.

Providers send ``null``, text, lists and objects where the API documents a number or text. So only content, reasoning,
tool calls, the finish reason, the usage and errors are read, each independently of the others. The usual chunk is
decoded in one step (:func:`decode_usual`), all others by :func:`read`; both give the same result wherever both can
decode.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

MAX_COUNT: Final = 1_000_000_000
"""A larger count of tokens is ignored."""

MAX_REASON: Final = 64
"""Characters of a finish reason that are read."""


class NotJson(ValueError):
    """The bytes are not JSON, even read leniently."""


class UsualDelta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    reasoning_details: Any = None
    tool_calls: Any = None
    function_call: Any = None


class UsualChoice(msgspec.Struct, gc=False):
    delta: UsualDelta
    finish_reason: str | None = None
    index: Literal[0] = 0
    text: None = None
    error: None = None


class UsualUsage(msgspec.Struct, gc=False):
    prompt_tokens: int
    completion_tokens: int


class UsualChunk(msgspec.Struct, gc=False):
    """A chunk in which every field that is read has the type that the API documents, and none reports an error."""

    choices: tuple[UsualChoice]
    usage: UsualUsage | None = None
    error: None = None
    base_resp: None = None
    x_groq: None = None


decode_usual = msgspec.json.Decoder(UsualChunk).decode
"""Decode a chunk of the documented shape. Raises msgspec.DecodeError and UnicodeDecodeError for any other."""


class Chunk(NamedTuple):
    """The fields of a chunk that are read.

    Attributes:
        text: May begin or end with a lone surrogate.
        tool_calls: The entries, as the provider sent them.
        encrypted: The encrypted entries of ``reasoning_details``: OpenRouter's thought signatures of calls.
        finish_reason: None where the provider gave none, or nothing.
        error: The object or text that reports an error; None when none is reported.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: Sequence[Any] = ()
    encrypted: Sequence[dict[str, Any]] = ()
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: Any = None


def read(data: bytes) -> Iterator[Chunk]:
    """Read the chunk, or the list of chunks, that ``data`` holds; JSON that is neither holds none.

    Raises:
        NotJson
    """
    value = parse(data)
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield _chunk_of(item)


def parse(data: bytes) -> Any:
    """Parse JSON as leniently as Python can: with NaN and infinities, control characters and lone surrogates.

    Raises:
        NotJson
    """
    try:
        return json.loads(data.decode(errors="replace"), strict=False, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from error


def has_content(value: Any) -> bool:
    """Whether a value holds text that is not blank or a number that is not zero, at any depth."""
    if isinstance(value, str):
        return not value.isspace() and bool(value)
    if isinstance(value, dict):
        return any(map(has_content, value.values()))
    if isinstance(value, list):
        return any(map(has_content, value))
    return bool(value)


def count(value: Any) -> int | None:
    """Return ``value`` as a number of tokens, also from text or a fraction; None when it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return int(number) if math.isfinite(number) and 0 <= number <= MAX_COUNT else None


def _integer(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        return math.inf  # Python refuses to convert more than some thousands of digits


def _chunk_of(chunk: Mapping[str, Any]) -> Chunk:
    choice = _first_choice(chunk.get("choices"))
    text, reasoning, calls = _content_of(choice)
    usage = chunk.get("usage")
    if not isinstance(usage, dict):
        usage = {}
    return Chunk(
        text=text,
        reasoning=reasoning,
        tool_calls=calls,
        encrypted=_encrypted(choice),
        finish_reason=_reason(choice.get("finish_reason")),
        input_tokens=_first_count(usage, "prompt_tokens", "input_tokens"),
        output_tokens=_first_count(usage, "completion_tokens", "output_tokens"),
        error=_error_of(chunk, choice),
    )


def _first_choice(choices: Any) -> Mapping[str, Any]:
    """The choice that is the answer: the one with index 0 or without an index."""
    for choice in choices if isinstance(choices, list) else [choices]:
        if isinstance(choice, dict) and not count(choice.get("index")):
            return choice
    return {}


def tool_calls(calls: Any, function_call: Any) -> Sequence[Any]:
    """Return the entries of a delta's ``tool_calls``, or of the ``function_call`` of the API's older versions."""
    if calls:
        return calls if isinstance(calls, list) else [calls]
    return [{"function": function_call}] if function_call else ()


def _content_of(choice: Mapping[str, Any]) -> tuple[str, str, Sequence[Any]]:
    """Text, reasoning, and the entries of tool calls."""
    # A whole completion in place of a stream has a message. Where both are, the message repeats the deltas.
    delta = choice.get("delta", choice.get("message"))
    if isinstance(delta, str):
        return delta or _text(choice.get("text")), "", ()
    if not isinstance(delta, dict):
        return _text(choice.get("text")), "", ()
    text, thought = _parts(delta.get("content"))
    reasoning = (
        "".join(_parts(delta.get("reasoning_content")))
        or "".join(_parts(delta.get("reasoning")))
        or thought
        or _details(delta.get("reasoning_details"))
    )
    # A refusal is the answer of a model that declines. ``text`` is of the older completions API.
    text = text or _text(delta.get("refusal")) or _text(choice.get("text"))
    return text, reasoning, tool_calls(delta.get("tool_calls"), delta.get("function_call"))


def _text(value: Any) -> str:
    """Text, also of a number: a server that guesses types sends the token ``6`` as one."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _parts(content: Any) -> tuple[str, str]:
    """Text and reasoning of a content that is text, or a list of parts such as Mistral's."""
    if not isinstance(content, list | dict):
        return _text(content), ""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content if isinstance(content, list) else [content]:
        if not isinstance(part, dict):
            texts.append(_text(part))
            continue
        inner = "".join("".join(_parts(part.get(name))) for name in ("thinking", "reasoning", "text", "refusal"))
        kind = part.get("type")
        is_thought = "thinking" in part or (isinstance(kind, str) and ("thinking" in kind or "reasoning" in kind))
        (thoughts if is_thought else texts).append(inner)
    return "".join(texts), "".join(thoughts)


def _details(details: Any) -> str:
    """The text of ``reasoning_details`` (OpenRouter's, Snowflake's): of its entries, those that are not encrypted."""
    if not isinstance(details, list):
        return ""
    return "".join(
        _text(entry.get("text")) or _text(entry.get("summary")) for entry in details if isinstance(entry, dict)
    )


def _encrypted(choice: Mapping[str, Any]) -> list[dict[str, Any]]:
    delta = choice.get("delta", choice.get("message"))
    details = delta.get("reasoning_details") if isinstance(delta, dict) else None
    if not isinstance(details, list):
        return []
    return [entry for entry in details if isinstance(entry, dict) and entry.get("type") == "reasoning.encrypted"]


def _reason(value: Any) -> str | None:
    if isinstance(value, dict):  # SGLang's: {"type": "stop", "matched": 2}
        value = value.get("type")
    return value.strip()[:MAX_REASON] or None if isinstance(value, str) else None


def _first_count(usage: Mapping[str, Any], *names: str) -> int | None:
    return next((found for name in names if (found := count(usage.get(name))) is not None), None)


def _error_of(chunk: Mapping[str, Any], choice: Mapping[str, Any]) -> Any:
    for error in (chunk.get("error"), choice.get("error"), chunk.get("errors")):
        # Other fields of the chunk, such as a status, may be all that identifies the error.
        if has_content(error):
            return chunk if error is not choice.get("error") else error
    groq = chunk.get("x_groq")
    if isinstance(groq, dict) and has_content(groq.get("error")):
        return groq
    base = chunk.get("base_resp")  # MiniMax's
    if isinstance(base, dict) and count(base.get("status_code")) != 0 and has_content(base):
        return chunk
    if chunk.get("object") == "error" or chunk.get("type") == "error":
        return chunk
    if "choices" not in chunk and _is_error(chunk):
        return chunk
    return None


def _is_error(chunk: Mapping[str, Any]) -> bool:
    """Whether an object without choices reports an error: it has a message, and a status or a code."""
    if not any(isinstance(chunk.get(name), str) for name in ("message", "msg", "detail", "error_msg", "error_message")):
        return False
    status = next((found for name in ("status_code", "status", "code") if (found := count(chunk.get(name)))), None)
    if status is not None:
        return status >= 400
    return chunk.get("success") is False or any(
        isinstance(chunk.get(name), str) for name in ("code", "error_code", "detail")
    )
