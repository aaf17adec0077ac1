"""The content of one attempt: text, reasoning and tool calls, numbered and limited. No I/O.

One read, one delta (``docs/decisions/0003``): each read from the provider becomes one run for each change of kind.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from llm_worker.generation import context
from llm_worker.provider.completion import Piece
from parley.contracts.completion import PartKind, Span, ToolCall, ToolDelta, ToolRound
from parley.contracts.frames import Kind
from parley.contracts.limits import MAX_ANSWER_BYTES

_CALL_BYTES: Final = 200
"""Of a tool call as JSON, in addition to its texts."""

_SPAN_BYTES: Final = 40
ENDED_BEFORE: Final = "Not completed: the answer ended before."
_ORDER: Final[tuple[PartKind, ...]] = ("reasoning", "text", "tool")

_encode = msgspec.json.Encoder().encode


class Run(msgspec.Struct, frozen=True, gc=False):
    """Consecutive pieces of one kind. ``from_``–``to`` number the model's chunks in it, from 1, without a gap.

    A change of a tool call is a run without text.
    """

    kind: Kind
    from_: int
    to: int
    text: str
    tool: ToolDelta | None = None


class AttemptContent:
    """The content of one attempt. Appending is O(new text); the whole is joined only on request.

    Args:
        max_bytes: The limit of the content as JSON. The rest is dropped, and ``full`` is set.

    Attributes:
        seq: The number of the last chunk.
        full: The limit is reached; nothing more is added.
    """

    def __init__(self, *, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._remaining = max_bytes
        # In the model's order, the texts of each run of one kind; a call has none.
        self._spans: list[tuple[PartKind, list[str]]] = []
        self._kind: PartKind | None = None
        self._texts: list[str] = []
        self._calls: list[ToolCall] = []
        self._arguments: dict[int, list[str]] = {}  # by the number of the call: fragments that are not joined yet
        self.seq = 0
        self.full = False

    @property
    def text(self) -> str:
        return _joined(self._spans, "text")

    @property
    def reasoning(self) -> str:
        return _joined(self._spans, "reasoning")

    @property
    def tool_calls(self) -> list[ToolCall]:
        for index, fragments in self._arguments.items():
            call = self._calls[index]
            self._calls[index] = msgspec.structs.replace(call, arguments=call.arguments + "".join(fragments))
        self._arguments.clear()
        return list(self._calls)

    @property
    def layout(self) -> list[Span]:
        """The order of text, reasoning and calls; empty where it is reasoning, text, calls."""
        return _layout_of(self._spans)

    @property
    def tokens(self) -> int:
        """The estimated number of tokens that the model wrote."""
        return context.tokens_written(self.text, self.reasoning, self.tool_calls)

    def add(self, pieces: Iterable[Piece]) -> list[Run]:
        """Append the pieces of one read and return the runs that they make."""
        runs: list[Run] = []
        kind: PartKind | None = None
        texts: list[str] = []
        from_ = self.seq + 1
        for piece in pieces:
            if piece.kind != kind:
                if kind is not None and texts:
                    runs.append(self._end_run(kind, from_, texts))
                kind, texts, from_ = piece.kind, [], self.seq + 1
                if piece.tool is not None:
                    kind = None
                    self._add_to_call(piece.tool, runs)
            text = self._cut(piece.text)
            if text:
                texts.append(text)
                self.seq += 1
            if self.full:
                break
        if kind is not None and texts:
            runs.append(self._end_run(kind, from_, texts))
        return runs

    def _cut(self, text: str) -> str:
        size = json_size(text)
        if size > self._remaining:
            self.full = True
            text = cut_to_json_size(text, self._remaining)
            size = json_size(text)
        self._remaining -= size
        return text

    def _end_run(self, kind: PartKind, from_: int, texts: list[str]) -> Run:
        text = texts[0] if len(texts) == 1 else "".join(texts)
        if kind != self._kind:
            self._start_span(kind)
        self._texts.append(text)
        return Run(kind, from_, self.seq, text)  # type: ignore[arg-type]  # never a tool

    def _start_span(self, kind: PartKind) -> None:
        if len(self._spans) >= len(_ORDER):
            self._remaining -= _SPAN_BYTES
        self._kind, self._texts = kind, []
        self._spans.append((kind, self._texts))

    # --- tool calls --------------------------------------------------------------------------------------------------

    def mark(self) -> int:
        """Return where the content ends now, for :meth:`since`."""
        self._kind = None
        return len(self._spans)

    def since(self, mark: int) -> ToolRound:
        """Return what was added since a mark."""
        spans = self._spans[mark:]
        before = sum(kind == "tool" for kind, _ in self._spans[:mark])
        return ToolRound(
            text=_joined(spans, "text"),
            reasoning=_joined(spans, "reasoning"),
            calls=self.tool_calls[before:],
            layout=_layout_of(spans),
        )

    def change_call(self, call_id: str, **fields: Any) -> list[Run]:
        """Change fields of a call and return the run for readers. A result is cut to the rest of the limit."""
        calls = self.tool_calls
        index = next(index for index, call in enumerate(calls) if call.id == call_id)
        if fields.get("result") is not None:
            fields["result"] = self._cut(fields["result"])
        call = self._calls[index] = msgspec.structs.replace(calls[index], **fields)
        self.seq += 1
        return [Run("text", self.seq, self.seq, "", ToolDelta(index=index, call=call))]

    def end_calls(self) -> None:
        """End the calls that Parley did not run before the end of the answer."""
        for index, call in enumerate(self.tool_calls):
            if call.server is not None and call.result is None:
                self._calls[index] = msgspec.structs.replace(call, status="failed", result=ENDED_BEFORE)

    def _add_to_call(self, delta: ToolDelta, runs: list[Run]) -> None:
        if delta.call is None:
            arguments = self._cut(delta.arguments)
            self._arguments.setdefault(delta.index, []).append(arguments)
            self._append_run(ToolDelta(index=delta.index, arguments=arguments), runs)
            return
        call = delta.call
        if delta.index < len(self._calls):
            self._remaining -= json_size(call.extra_content or "")
            runs += self.change_call(call.id, extra_content=call.extra_content)
            return
        self._remaining -= _CALL_BYTES + json_size(call.id) + json_size(call.name) + json_size(call.extra_content or "")
        if self._remaining < 0:
            self.full = True
            return
        result = self._cut(call.result) if call.result is not None else None
        call = msgspec.structs.replace(call, arguments=self._cut(call.arguments), result=result)
        self._calls.append(call)
        self._start_span("tool")
        self._append_run(ToolDelta(index=delta.index, call=call), runs)

    def _append_run(self, delta: ToolDelta, runs: list[Run]) -> None:
        """Append a change of a call. More arguments of the call of the previous run are added to its chunk."""
        before = runs[-1].tool if runs else None
        if delta.call is None and before is not None and before.index == delta.index:
            runs.pop()
            delta = _with_arguments(before, delta.arguments)
        else:
            self.seq += 1
        runs.append(Run("text", self.seq, self.seq, "", delta))


def pieces_of(
    text: str, reasoning: str, tool_calls: Sequence[ToolCall], layout: Sequence[Span], *, first_call: int = 0
) -> list[Piece]:
    """Return the pieces that make up this content, in its order; of a call that the order leaves out, at the end."""
    pieces: list[Piece] = []
    rest: dict[PartKind, str] = {"reasoning": reasoning, "text": text}
    calls = [Piece("tool", "", ToolDelta(index=index, call=call)) for index, call in enumerate(tool_calls, first_call)]
    calls.reverse()
    for span in layout:
        if span.kind == "tool":
            if calls:
                pieces.append(calls.pop())
        else:
            pieces.append(Piece(span.kind, rest[span.kind][: span.length]))
            rest[span.kind] = rest[span.kind][span.length :]
    pieces += [Piece(kind, remaining) for kind, remaining in rest.items()]
    return [*pieces, *reversed(calls)]


def _joined(spans: Iterable[tuple[PartKind, list[str]]], kind: PartKind) -> str:
    found = [_join(texts) for span_kind, texts in spans if span_kind == kind]
    return found[0] if len(found) == 1 else "".join(found)


def _join(texts: list[str]) -> str:
    """Join the texts of a span in place: the next time, only what was added since is joined to them."""
    if len(texts) > 1:
        texts[:] = ["".join(texts)]
    return texts[0] if texts else ""


def _layout_of(spans: Sequence[tuple[PartKind, list[str]]]) -> list[Span]:
    """The order of text, reasoning and calls; empty where it is reasoning, text, calls."""
    order = [_ORDER.index(kind) for kind, _ in spans]
    if order == sorted(order):
        return []
    found: list[Span] = []
    for kind, texts in spans:
        length = len(_join(texts))
        if found and kind != "tool" and found[-1].kind == kind:
            found[-1] = Span(kind, found[-1].length + length)
        else:
            found.append(Span(kind, length))
    return found


def _with_arguments(delta: ToolDelta, arguments: str) -> ToolDelta:
    if delta.call is None:
        return ToolDelta(index=delta.index, arguments=delta.arguments + arguments)
    call = msgspec.structs.replace(delta.call, arguments=delta.call.arguments + arguments)
    return ToolDelta(index=delta.index, call=call)


def json_size(text: str) -> int:
    """Bytes of ``text`` within a JSON string."""
    return len(_encode(text)) - 2


def cut_to_json_size(text: str, limit: int) -> str:
    """Return the longest beginning of ``text`` that takes at most ``limit`` bytes as JSON."""
    low, high = 0, min(len(text), limit)
    while low < high:
        middle = (low + high + 1) // 2
        if json_size(text[:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    return text[:low]
