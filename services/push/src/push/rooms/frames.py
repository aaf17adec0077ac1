"""The frames that a room sends, as bytes ready for the socket. No input or output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from parley.contracts.frames import (
    ChatFrame,
    Delta,
    Error,
    Generation,
    MessageFrame,
    RunningAnswer,
    Snapshot,
)
from parley.contracts.resources import Chat, Message
from push.rooms.answer_text import Transcript
from push.rooms.framing import encode
from push.rooms.history import History

__all__ = ["MAX_TEXT", "Place", "changes", "deltas", "gone", "not_found", "snapshot", "started", "unavailable"]


MAX_TEXT: Final = 64 * 1024
"""About how much running text one frame of a catch-up holds. More follows when the reader has taken that."""


class Place(NamedTuple):
    """Where a reader is, as far as it makes a difference to what it is sent.

    Attributes:
        version: None: it has nothing.
        after: The chunk of the running text behind which its own text ends; 0: it has none of it.
    """

    version: int | None
    after: int


def deltas(chat_id: str, answer: Transcript, seq: int, limit: int | None = None) -> tuple[bytes, int] | None:
    """Return the answer's text after ``seq``, one frame for each run, and where it ends; None when it cannot be cut.

    Args:
        limit: See :meth:`push.rooms.answer_text.Transcript.since`.
    """
    runs = answer.since(seq, limit)
    if runs is None:
        return None
    data = b"".join(
        encode(
            Delta(
                chat_id=chat_id,
                generation_id=answer.generation_id,
                attempt=answer.attempt,
                from_=run.from_,
                to=run.to,
                kind=run.kind,
                text=run.text,
            )
        )
        for run in runs
    )
    return data, runs[-1].to if runs else seq


def started(chat_id: str, answer: Transcript) -> bytes:
    """Return the frame that begins the answer's attempt."""
    frame = Generation(
        chat_id=chat_id,
        generation_id=answer.generation_id,
        message_id=answer.message_id,
        attempt=answer.attempt,
        status="started",
    )
    return encode(frame)


def changes(chat_id: str, since: int, version: int, messages: Sequence[Message], chat: Chat | None) -> bytes:
    """Return the frames that take a reader from version ``since`` to ``version``.

    A frame's version is the cursor of whoever has it. Only the last of the messages takes readers on, or one who is cut
    off between two of the same change would never get the second.
    """
    last = len(messages) - 1
    frames = [
        encode(MessageFrame(chat_id=chat_id, version=version if index == last else since, message=message))
        for index, message in enumerate(messages)
    ]
    frames.append(encode(ChatFrame(chat_id=chat_id, version=version, chat=chat)))
    return b"".join(frames)


def snapshot(chat_id: str, history: History, answer: Transcript | None, place: Place) -> tuple[bytes, int]:
    """Return the snapshot for a reader at ``place``, and the chunk of the running text that it goes to.

    ``history`` knows the changes since the place, or the page.
    """
    assert history.chat is not None
    more = None
    if place.version is None:
        page = history.page()
        assert page is not None
        messages, more = page
    else:
        changed = history.since(place.version)
        assert changed is not None
        messages = changed
    running = None if answer is None else _running(answer, place.after)
    frame = Snapshot(
        chat_id=chat_id,
        version=history.version,
        recovered=place.version is not None,
        chat=history.chat,
        messages=messages,
        generation=running,
        next=more,
    )
    return encode(frame), 0 if running is None else running.seq


def _running(answer: Transcript, after: int) -> RunningAnswer:
    """Return the running answer from the chunk ``after`` on; 0: from its beginning."""
    text = reasoning = ""
    if after > answer.seq:
        # Nothing new for a reader who has more of it, from another push process.
        seq, runs = after, []
    else:
        seq = after
        if after == 0:
            seq, text, reasoning = answer.base
        found = answer.since(seq, MAX_TEXT)
        assert found is not None
        runs = found
    return RunningAnswer(
        generation_id=answer.generation_id,
        message_id=answer.message_id,
        attempt=answer.attempt,
        status=answer.status,
        seq=runs[-1].to if runs else seq,
        after=after,
        text=text + "".join(run.text for run in runs if run.kind == "text"),
        reasoning=reasoning + "".join(run.text for run in runs if run.kind == "reasoning"),
    )


def gone(chat_id: str, version: int) -> bytes:
    """Return what a reader is told whose chat was deleted, or who was removed from it."""
    return encode(ChatFrame(chat_id=chat_id, version=max(version, 0), chat=None))


def not_found(chat_id: str) -> bytes:
    """Return what somebody is told who may not read; whether there is such a chat is not told."""
    message = "There is no such chat, or you are not a member of it."
    return encode(Error(code="not_found", message=message, chat_id=chat_id))


def unavailable(chat_id: str) -> bytes:
    """Return what a reader is told who has to wait."""
    return encode(Error(code="unavailable", message="The chat cannot be read right now.", chat_id=chat_id))
