"""The frames that a room sends, each with the cursor of a reader who has it. No I/O."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from parley.contracts.frames import ChatFrame, Cursor, Delta, Error, Generation, MessageFrame, RunningAnswer, Snapshot
from parley.contracts.resources import Chat, Message
from push.rooms.answer_text import AnswerText
from push.rooms.framing import Frames
from push.rooms.history import History

MAX_TEXT: Final = 64 * 1024
"""About how much running text one frame of a catch-up holds. More follows when the reader has taken that."""


class Position(NamedTuple):
    """Where a reader is, as far as it makes a difference to what it is sent.

    Attributes:
        version: None: it has nothing.
        after: The chunk of the running text behind which its own text ends; 0: it has none of it.
    """

    version: int | None
    after: int


def cursor(version: int, answer: AnswerText | None, seq: int) -> Cursor:
    """Return the cursor of a reader who has ``version`` and the running answer's text up to the chunk ``seq``."""
    if answer is None:
        return Cursor(version=version)
    return Cursor(version=version, generation_id=answer.generation_id, attempt=answer.attempt, seq=seq)


def deltas(
    chat_id: str, version: int, answer: AnswerText, seq: int, limit: int | None = None
) -> tuple[Frames, int] | None:
    """Return the answer's text after ``seq``, one frame for each run, and where it ends; None when it cannot be cut.

    Args:
        limit: See :meth:`push.rooms.answer_text.AnswerText.since`.
    """
    runs = answer.since(seq, limit)
    if runs is None:
        return None
    frames = Frames.of(
        *(
            (
                Delta(
                    chat_id=chat_id,
                    generation_id=answer.generation_id,
                    attempt=answer.attempt,
                    from_=run.from_,
                    to=run.to,
                    kind=run.kind,
                    text=run.text,
                    tool=run.tool,
                ),
                cursor(version, answer, run.to),
            )
            for run in runs
        )
    )
    return frames, runs[-1].to if runs else seq


def started(chat_id: str, version: int, answer: AnswerText) -> Frames:
    """Return the frame that begins the answer's attempt."""
    frame = Generation(
        chat_id=chat_id,
        generation_id=answer.generation_id,
        message_id=answer.message_id,
        attempt=answer.attempt,
        status="started",
    )
    return Frames.of((frame, cursor(version, answer, 0)))


def changes(chat_id: str, since: int, now: Cursor, messages: Sequence[Message], chat: Chat | None) -> Frames:
    """Return the frames that take a reader from version ``since`` to the cursor ``now``.

    A frame's version is the cursor of whoever has it. Only the last of the messages takes readers on, or one who is cut
    off between two of the same change would never get the second. An event's id counts the chat's own frame, too.
    """
    version = now.version
    before = msgspec.structs.replace(now, version=since)
    last = len(messages) - 1
    return Frames.of(
        *(
            (MessageFrame(chat_id=chat_id, version=version if index == last else since, message=message), before)
            for index, message in enumerate(messages)
        ),
        (ChatFrame(chat_id=chat_id, version=version, chat=chat), now),
    )


def snapshot(chat_id: str, history: History, answer: AnswerText | None, position: Position) -> tuple[Frames, int]:
    """Return the snapshot for a reader at ``position``, and the chunk of the running text that it ends with.

    ``history`` has the changes since the position, or the page.
    """
    assert history.chat is not None
    more = None
    if position.version is None:
        page = history.page()
        assert page is not None
        messages, more = page
    else:
        changed = history.since(position.version)
        assert changed is not None
        messages = changed
    running = None if answer is None else _running(answer, position.after)
    frame = Snapshot(
        chat_id=chat_id,
        version=history.version,
        recovered=position.version is not None,
        chat=history.chat,
        messages=messages,
        generation=running,
        next=more,
    )
    seq = 0 if running is None else running.seq
    return Frames.of((frame, cursor(history.version, answer, seq))), seq


def _running(answer: AnswerText, after: int) -> RunningAnswer:
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
    seq = runs[-1].to if runs else seq
    # Without a chunk more, the reader's calls stay as they are: it may have more of them than this process.
    calls, layout = answer.order(seq) if seq > after else ([], [])
    return RunningAnswer(
        generation_id=answer.generation_id,
        message_id=answer.message_id,
        attempt=answer.attempt,
        status=answer.status,
        seq=seq,
        after=after,
        text=text + "".join(run.text for run in runs if run.kind == "text"),
        reasoning=reasoning + "".join(run.text for run in runs if run.kind == "reasoning"),
        tool_calls=calls,
        layout=layout,
    )


def gone(chat_id: str, version: int) -> Frames:
    """Return the frame for a reader whose chat was deleted, or who was removed from it."""
    return Frames.of((ChatFrame(chat_id=chat_id, version=max(version, 0), chat=None), None))


def not_found(chat_id: str) -> Frames:
    """Return the frame for a user who may not read; it does not reveal whether the chat exists."""
    message = "There is no such chat, or you are not a member of it."
    return Frames.of((Error(code="not_found", message=message, chat_id=chat_id), None))


def unavailable(chat_id: str) -> Frames:
    """Return the frame for a reader who has to wait."""
    return Frames.of((Error(code="unavailable", message="The chat cannot be read right now.", chat_id=chat_id), None))
