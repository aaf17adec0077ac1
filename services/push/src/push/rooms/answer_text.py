"""The text and tool calls of a running answer, stored once for all of a room's readers, and sliced for the slow ones.

No input or output. Sizes stay near those of the text itself: one byte buffer in order of arrival, and eight bytes for
each delta boundary.
"""

from array import array
from bisect import bisect_left, bisect_right
from typing import Literal, NamedTuple

from msgspec.structs import replace

from parley.contracts.assembly import default_layout, extend_layout, is_default, merge_tool
from parley.contracts.completion import Span, ToolCall, ToolDelta
from parley.contracts.frames import Cursor, Kind
from parley.contracts.rpc import GenerationSnapshot

Status = Literal["requested", "running", "retrying"]


class Run(NamedTuple):
    """Neighbouring deltas of one kind, or of one tool call: the chunks ``from_``–``to``, whose text is ``text``.

    Attributes:
        tool: Of a tool call; ``kind`` is then ``text``, and ``text`` is empty.
    """

    kind: Kind
    from_: int
    to: int
    text: str
    tool: ToolDelta | None = None


class AnswerText:
    """One generation as its room knows it.

    A position in the text is the number of a chunk (``seq``). The text can be cut after the last chunk of each delta
    that was appended, and nowhere else: the text of a worker's snapshot is one piece.

    Attributes:
        attempt: 0 until a worker has claimed the generation.
        status: As a snapshot sends it to readers.
        seq: The last chunk stored.
        has_gap: Chunks are missing, or may be: the worker has to be asked.
        known: Something is known of the text. False right after a room learned of a generation that was already
            running; readers wait for the worker's answer then.
        announced: The attempt that was announced to the room's readers; 0: none yet.
        expected: The newest attempt that a reader claimed to know.
    """

    __slots__ = (
        "_base_calls",
        "_base_layout",
        "_base_reasoning",
        "_base_seq",
        "_base_text",
        "_buffer",
        "_ends",
        "_offsets",
        "_runs",
        "announced",
        "attempt",
        "expected",
        "generation_id",
        "has_gap",
        "known",
        "message_id",
        "seq",
        "status",
    )

    def __init__(self, generation_id: str, message_id: str, attempt: int, status: Status) -> None:
        self.generation_id = generation_id
        self.message_id = message_id
        self.status: Status = status
        self.announced = 0
        self.expected = attempt
        self.begin(attempt)

    def begin(self, attempt: int) -> None:
        """Start ``attempt`` with no text; that of an older one is void."""
        self.attempt = attempt
        self.has_gap = False
        self.known = True
        self._rebase(0, "", "", [], [])

    def _rebase(self, seq: int, text: str, reasoning: str, calls: list[ToolCall], layout: list[Span]) -> None:
        self.seq = self._base_seq = seq
        self._base_text = text
        self._base_reasoning = reasoning
        self._base_calls = calls
        self._base_layout = layout or default_layout(text, reasoning, calls)
        self._buffer = bytearray()
        self._ends = array("I")
        self._offsets = array("I")
        self._runs: list[tuple[int, Kind | ToolDelta]] = []

    def append(self, to: int, kind: Kind | ToolDelta, text: str) -> None:
        """Append the chunks after ``seq`` up to ``to``."""
        if not self._runs or self._runs[-1][1] != kind:
            self._runs.append((len(self._ends), kind))
        self._buffer += text.encode()
        self._ends.append(to)
        self._offsets.append(len(self._buffer))
        self.seq = to

    def append_tool(self, to: int, tool: ToolDelta) -> None:
        """Append the chunks after ``seq`` up to ``to``, which are news of a tool call."""
        last = self._runs[-1][1] if self._runs else None
        if tool.call is not None or not isinstance(last, ToolDelta) or last.index != tool.index:
            self._runs.append((len(self._ends), tool))
        self.append(to, self._runs[-1][1], tool.arguments)

    def expect(self, attempt: int) -> None:
        """A reader knows of this attempt: if it is newer than what anybody knew, ask the worker once."""
        if attempt > max(self.attempt, self.expected):
            self.expected = attempt
            self.has_gap = True
            self.known = False

    def catch_up(self, snapshot: GenerationSnapshot) -> bool:
        """Take over what the worker of this attempt says of its text so far.

        Returns:
            Whether positions before the snapshot still hold. If not, readers need the whole text.
        """
        self.known = True
        self.has_gap = False
        self.status = snapshot.status
        if snapshot.seq <= self.seq:
            return True
        news = self._news(snapshot) if self.seq > 0 else None
        # A piece has one kind. With several news, nobody knows in which order they came, and a cut between them would
        # be a position that another push process understands differently.
        if news is not None and len(news) <= 1:
            kind, text = news[0] if news else ("text", "")
            if isinstance(kind, ToolDelta):
                self.append_tool(snapshot.seq, kind)
            else:
                self.append(snapshot.seq, kind, text)
            return True
        self._rebase(snapshot.seq, snapshot.text, snapshot.reasoning, snapshot.tool_calls, snapshot.layout)
        return False

    def _news(self, snapshot: GenerationSnapshot) -> list[tuple[Kind | ToolDelta, str]] | None:
        """Return what a snapshot adds to what is stored; None: it contradicts that."""
        text, reasoning = self.whole()
        calls = self.order(self.seq)[0]
        if not (snapshot.text.startswith(text) and snapshot.reasoning.startswith(reasoning)):
            return None
        if len(snapshot.tool_calls) < len(calls):
            return None
        news: list[tuple[Kind | ToolDelta, str]] = []
        if more := snapshot.text[len(text) :]:
            news.append(("text", more))
        if more := snapshot.reasoning[len(reasoning) :]:
            news.append(("reasoning", more))
        for index, call in enumerate(snapshot.tool_calls):
            if index >= len(calls):
                news.append((ToolDelta(index=index, call=call), ""))
            elif call != calls[index]:
                tool = _difference(index, calls[index], call)
                if tool is None:
                    return None
                news.append((tool, ""))
        return news

    def is_of(self, cursor: Cursor) -> bool:
        """Whether ``cursor`` is a place in this attempt's text."""
        return cursor.generation_id == self.generation_id and cursor.attempt == self.attempt

    def whole(self) -> tuple[str, str]:
        """Return all text and all reasoning."""
        text, reasoning = [self._base_text], [self._base_reasoning]
        for run in self._runs_between(0, len(self._ends)):
            (text if run.kind == "text" else reasoning).append(run.text)
        return "".join(text), "".join(reasoning)

    def order(self, seq: int) -> tuple[list[ToolCall], list[Span]]:
        """Return the tool calls until the chunk ``seq``, and the order of text, reasoning and calls.

        Returns:
            An empty order stands for reasoning, text, calls.
        """
        calls, layout = list(self._base_calls), list(self._base_layout)
        for run in self._runs_between(0, bisect_right(self._ends, seq)):
            if run.tool is None:
                extend_layout(layout, run.kind, len(run.text))
            elif merge_tool(calls, run.tool):
                extend_layout(layout, "tool")
        return calls, [] if is_default(layout) else layout

    @property
    def base(self) -> tuple[int, str, str]:
        """Where the text can be cut first, and text and reasoning until there."""
        return self._base_seq, self._base_text, self._base_reasoning

    def can_cut(self, seq: int) -> bool:
        """Whether the text can be cut after the chunk ``seq``."""
        return seq == self._base_seq or self._index_of(seq) is not None

    def since(self, seq: int, limit: int | None = None) -> list[Run] | None:
        """Return what follows the chunk ``seq``, or None when the text cannot be cut there.

        Args:
            limit: About so many bytes at most: as many deltas as fit, at least one.
        """
        if seq == self._base_seq:
            first = 0
        else:
            index = self._index_of(seq)
            if index is None:
                return None
            first = index + 1
        end = len(self._ends)
        if limit is not None and first < end:
            begin = self._offsets[first - 1] if first else 0
            end = max(first + 1, bisect_right(self._offsets, begin + limit))
        return self._runs_between(first, end)

    def _index_of(self, seq: int) -> int | None:
        index = bisect_left(self._ends, seq)
        return index if index < len(self._ends) and self._ends[index] == seq else None

    def _runs_between(self, first: int, end: int) -> list[Run]:
        runs: list[Run] = []
        for start, kind in reversed(self._runs):
            if start >= end:
                continue
            if end <= first:
                break
            begins = start >= first
            start = max(start, first)
            seq, offset = (self._ends[start - 1], self._offsets[start - 1]) if start else (self._base_seq, 0)
            text = self._buffer[offset : self._offsets[end - 1]].decode()
            if isinstance(kind, ToolDelta):
                tool = ToolDelta(index=kind.index, call=kind.call if begins else None, arguments=text)
                runs.append(Run("text", seq + 1, self._ends[end - 1], "", tool))
            else:
                runs.append(Run(kind, seq + 1, self._ends[end - 1], text))
            end = start
        runs.reverse()
        return runs


def _difference(index: int, before: ToolCall, after: ToolCall) -> ToolDelta | None:
    """Return the one delta that makes a call another; None: there is none."""
    if before.arguments == after.arguments:
        return ToolDelta(index=index, call=after)
    if after.arguments.startswith(before.arguments) and replace(before, arguments=after.arguments) == after:
        return ToolDelta(index=index, arguments=after.arguments[len(before.arguments) :])
    return None
