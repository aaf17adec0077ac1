"""The frames that a room sends, as bytes ready for the socket. No input or output."""

from __future__ import annotations

from collections.abc import Sequence

from parley.contracts.frames import (
    ChatFrame,
    Cursor,
    Delta,
    Error,
    Generation,
    MessageFrame,
    RunningAnswer,
    Snapshot,
)
from parley.contracts.resources import Chat, Message
from push.history import History
from push.transcript import Run, Transcript
from push.wire import encode

__all__ = ["changes", "deltas", "gone", "not_found", "snapshot", "started", "unavailable"]


def deltas(chat_id: str, answer: Transcript, seq: int) -> bytes | None:
    """Return the answer's text after ``seq``, one frame for each run; None when it cannot be cut there."""
    runs = answer.since(seq)
    if runs is None:
        return None
    return b"".join(
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


def snapshot(chat_id: str, history: History, answer: Transcript | None, cursor: Cursor | None) -> bytes:
    """Return the snapshot for a reader at ``cursor``, or for one who has nothing.

    ``history`` knows the changes since the cursor, or the page.
    """
    assert history.chat is not None
    more = None
    if cursor is None:
        page = history.page()
        assert page is not None
        messages, more = page
    else:
        changed = history.since(cursor.version)
        assert changed is not None
        messages = changed
    frame = Snapshot(
        chat_id=chat_id,
        version=history.version,
        recovered=cursor is not None,
        chat=history.chat,
        messages=messages,
        generation=None if answer is None else _running(answer, cursor),
        next=more,
    )
    return encode(frame)


def _running(answer: Transcript, cursor: Cursor | None) -> RunningAnswer:
    """Return the running answer from the cursor on, or as a whole when it cannot be cut there."""
    seq, after = answer.seq, 0
    runs: list[Run] | None = None
    if cursor is not None and answer.is_of(cursor) and cursor.seq > 0:
        after = cursor.seq
        if cursor.seq > answer.seq:
            # Nothing new for a reader who has more of it, from another push process.
            seq, runs = cursor.seq, []
        else:
            runs = answer.since(cursor.seq)
    if runs is None:
        after = 0
        text, reasoning = answer.whole()
    else:
        text = "".join(run.text for run in runs if run.kind == "text")
        reasoning = "".join(run.text for run in runs if run.kind == "reasoning")
    return RunningAnswer(
        generation_id=answer.generation_id,
        message_id=answer.message_id,
        attempt=answer.attempt,
        status=answer.status,
        seq=seq,
        after=after,
        text=text,
        reasoning=reasoning,
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
