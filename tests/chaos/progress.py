"""How long readers saw nothing happen while an answer was due. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.stored import Stored

MAX_SECONDS = 60.0
"""Nothing may stand still for longer (design: nothing is ever "running" for more than 60 s without a live worker)."""

Mark = tuple[int, int, str]
"""Attempt, chunks and status of a running answer, as a reader has them."""


@dataclass
class Progress:
    """When any reader first saw each step of each answer.

    Attributes:
        seen: By generation: the moments (Unix seconds) of new text, a new attempt, or a retry that was announced.
    """

    seen: dict[str, list[float]] = field(default_factory=dict)
    _marks: dict[str, Mark] = field(default_factory=dict)

    def note(self, generation_id: str, mark: Mark, now: float) -> None:
        """A reader has this state of the answer; what another reader had before is no progress."""
        known = self._marks.get(generation_id)
        if known is None or mark[:2] > known[:2] or (mark[:2] == known[:2] and mark[2] != known[2]):
            self._marks[generation_id] = mark
            self.seen.setdefault(generation_id, []).append(now)


@dataclass(frozen=True)
class Standstill:
    """The longest time in which nothing happened to an answer, from the moment at which it was due.

    Attributes:
        began: When (Unix seconds).
        struck: Something was killed meanwhile, or in the second before.
    """

    generation_id: str
    chat_id: str
    began: float
    seconds: float
    struck: bool


def standstills(
    stored: Stored, progress: Progress, accepted: Mapping[str, float], kills: Sequence[float], now: float
) -> list[Standstill]:
    """Return the longest standstill of each answer, the time from the prompt's acceptance to its begin included.

    Args:
        accepted: When each prompt was accepted, by message id.
        kills: When something was killed.
        now: An answer without an end stands still until now.
    """
    found = []
    free_at: dict[str, float] = {}
    answered: set[str] = set()
    for generation in sorted(stored.generations, key=lambda each: each.created_at):
        answer = stored.messages.get((generation.chat_id, generation.message_id))
        prompt_id = (answer.parent_id if answer is not None else None) or ""
        due = generation.created_at
        if prompt_id in accepted and prompt_id not in answered:  # a further answer was asked for later
            due = min(due, max(accepted[prompt_id], free_at.get(generation.chat_id, 0.0)))
        answered.add(prompt_id)
        ended_at = generation.ended_at or now
        free_at[generation.chat_id] = ended_at
        seen = [moment for moment in progress.seen.get(generation.id, ()) if generation.created_at < moment < ended_at]
        moments = [due, generation.created_at, *seen, ended_at]
        seconds, start = max((end - start, start) for start, end in pairwise(moments))
        struck = any(start - 1.0 <= kill <= start + seconds for kill in kills)
        found.append(Standstill(generation.id, generation.chat_id, start, seconds, struck))
    return found
