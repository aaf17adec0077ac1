"""A short run of ``python -m tests.chaos.protocols``, and what its readers and checks find."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx2
import openai
import pytest

from tests.chaos.protocols.ag_ui import RunReader
from tests.chaos.protocols.check import check
from tests.chaos.protocols.reader import Ask, Reading
from tests.chaos.protocols.responses import ResponseReader
from tests.chaos.protocols.run import PARTS, PROTOCOLS, RunOptions, run
from tests.chaos.run import LOG
from tests.chaos.stored import Stored, StoredMessage


@pytest.mark.timeout(420)
async def test_answers_are_read_whole_while_every_part_is_killed(tmp_path: Path) -> None:
    report = await run(
        RunOptions(protocols=tuple(PROTOCOLS), seconds=25, answers=8, seed=4, folder=tmp_path, every=3.0), print
    )
    lines = "\n".join(report.lines())
    assert report.good, (
        f"{lines}\n--- the last of the log ---\n{(tmp_path / LOG).read_text(errors='replace')[-20_000:]}"
    )
    assert all(report.kills[part] for part in PARTS)
    assert all(found.cuts > 0 for found in report.findings.values())


PROMPT = StoredMessage(
    id="prompt",
    chat_id="chat",
    parent_id=None,
    role="user",
    content="Greet me",
    reasoning="",
    status="complete",
    error=None,
    position=1,
    version=1,
)
ANSWER = replace(PROMPT, id="answer", parent_id="prompt", role="assistant", content="Hello", reasoning="Hm", position=2)
FAILED = replace(ANSWER, content="Hel", status="failed", error="attempts_exhausted")
READING = Reading(1, "chat", [1, 2, 3], "Hello", "Hm", 1, "complete")


@pytest.mark.parametrize(
    ("reading", "answers", "violation"),
    [
        (READING, [ANSWER], None),
        (replace(READING, numbers=[1, 2, 2]), [ANSWER], "twice"),
        (replace(READING, numbers=[2, 1, 3]), [ANSWER], "out of order"),
        (replace(READING, end=""), [ANSWER], "no end"),
        (replace(READING, text="Hell"), [ANSWER], "are stored"),
        (replace(READING, reasoning=""), [ANSWER], "of reasoning"),
        (replace(READING, problem="It was refused."), [ANSWER], "refused"),
        (replace(READING, end="failed"), [ANSWER], "is failed"),
        (replace(READING, end="failed"), [FAILED], None),
        (READING, [FAILED], "is complete"),
        (replace(READING, end="failed"), [replace(FAILED, error="internal")], "internal"),
        (READING, [ANSWER, replace(ANSWER, id="second")], "3 messages"),
    ],
)
def test_what_is_lost_or_doubled_is_found(
    reading: Reading, answers: list[StoredMessage], violation: str | None
) -> None:
    messages = {(message.chat_id, message.id): message for message in (PROMPT, *answers)}
    violations = check([reading], Stored({}, messages, [])).violations
    assert bool(violations) == (violation is not None)
    assert violation is None or violation in violations[0]


ASK = Ask(number=1, model="demo", seed=1, drop_every=3.0)
START = (4, {"type": "TEXT_MESSAGE_START", "messageId": "answer-1-0"})
HELLO = (9, {"type": "TEXT_MESSAGE_CONTENT", "messageId": "answer-1-0", "delta": "Hello"})
END = (10, {"type": "TEXT_MESSAGE_END", "messageId": "answer-1-0"})
ERROR = {"type": "RUN_ERROR", "message": "Nobody is there.", "code": "unavailable"}
FINISHED = {"type": "RUN_FINISHED"}


@pytest.mark.parametrize(
    ("events", "shown"),
    [
        ([START, HELLO, END, (14, FINISHED)], ("complete", "Hello", "")),
        ([START, HELLO, (9, ERROR)], ("", "Hello", "")),
        ([START, HELLO, END, (14, ERROR)], ("failed", "Hello", "")),
        ([START, HELLO, (20, {"type": "CUSTOM", "name": "parley.attempt"}), (24, FINISHED)], ("complete", "", "")),
        ([START, HELLO, (14, FINISHED)], ("complete", "Hello", "a message has not ended")),
        ([HELLO], ("", "Hello", "a message goes on that has not started")),
    ],
)
async def test_a_run_is_shown_as_its_events_say(
    events: Sequence[tuple[int, dict[str, str]]], shown: tuple[str, str, str]
) -> None:
    async with httpx2.AsyncClient() as http:
        reader = RunReader(ASK, http)
    for number, event in events:
        reader.apply(number, event)
    assert (reader.reading.end, reader.reading.text, reader.reading.problem) == shown


@pytest.mark.parametrize(("streamed", "problem"), [("Hello", ""), ("Hell", "the deltas of an item are not its text")])
async def test_a_response_whose_deltas_are_not_its_text_is_found(streamed: str, problem: str) -> None:
    async with openai.AsyncOpenAI(api_key="none") as sdk:
        reader = ResponseReader(ASK, sdk)
    item = {"type": "message", "id": "msg", "status": "completed", "content": [{"text": "Hello"}]}
    dropped = {**item, "id": "dropped", "status": "incomplete"}
    reader.apply({"type": "response.output_text.delta", "sequence_number": 1, "item_id": "msg", "delta": streamed})
    reader.apply({"type": "response.completed", "sequence_number": 2, "response": {"output": [dropped, item]}})
    assert (reader.reading.end, reader.reading.text, reader.reading.problem) == ("complete", "Hello", problem)
