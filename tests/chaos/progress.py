"""Stalls: how long readers saw no progress of an answer that was due. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.stored import Stored

MAX_SECONDS = 60.0
"""The longest stall that is allowed (design: nothing is ever "running" for more than 60 s without a live worker)."""

Mark = tuple[int, int, str]
"""Attempt, chunks and status of a running answer, as a reader has them."""


@dataclass
class Progress:
    """When any reader first saw each step of each answer.

    Attributes:
        seen: By generation: the times (Unix seconds) of new text, a new attempt, or an announced retry.
    """

    seen: dict[str, list[float]] = field(default_factory=dict)
    _marks: dict[str, Mark] = field(default_factory=dict)

    def note(self, generation_id: str, mark: Mark, now: float) -> None:
        """Record a reader's state of the answer; one that another reader had before is no progress."""
        known = self._marks.get(generation_id)
        if known is None or mark[:2] > known[:2] or (mark[:2] == known[:2] and mark[2] != known[2]):
            self._marks[generation_id] = mark
            self.seen.setdefault(generation_id, []).append(now)


@dataclass(frozen=True)
class Stall:
    """The longest time without progress of an answer, from when it was due.

    Attributes:
        began: When (Unix seconds).
        during_kill: Something was killed in that time, or in the second before.
    """

    generation_id: str
    chat_id: str
    began: float
    seconds: float
    during_kill: bool


def stalls(
    stored: Stored, progress: Progress, accepted: Mapping[str, float], kills: Sequence[float], now: float
) -> list[Stall]:
    """Return the longest stall of each answer, the time from the prompt's acceptance to its start included.

    Args:
        accepted: When each prompt was accepted, by message id.
        kills: When something was killed.
        now: An unfinished answer is stalled until now.
    """
    found = []
    free_at: dict[str, float] = {}
    answered: set[str] = set()
    for generation in sorted(stored.generations, key=lambda each: each.created_at):
        answer = stored.messages.get((generation.chat_id, generation.message_id))
        prompt_id = (answer.parent_id if answer is not None else None) or ""
        due = generation.created_at
        if prompt_id in accepted and prompt_id not in answered:  # a further answer was requested later
            due = min(due, max(accepted[prompt_id], free_at.get(generation.chat_id, 0.0)))
        answered.add(prompt_id)
        ended_at = generation.ended_at or now
        free_at[generation.chat_id] = ended_at
        seen = [moment for moment in progress.seen.get(generation.id, ()) if generation.created_at < moment < ended_at]
        moments = [due, generation.created_at, *seen, ended_at]
        seconds, start = max((end - start, start) for start, end in pairwise(moments))
        during_kill = any(start - 1.0 <= kill <= start + seconds for kill in kills)
        found.append(Stall(generation.id, generation.chat_id, start, seconds, during_kill))
    return found
