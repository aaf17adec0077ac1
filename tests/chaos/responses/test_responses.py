"""A short run of ``python -m tests.chaos.responses``, and what its checks find."""

from pathlib import Path

import pytest

from gateway.protocols.openai.responses_ids import response_id
from parley.contracts.ids import new_id
from tests.chaos.responses.check import check
from tests.chaos.responses.reader import Reading
from tests.chaos.responses.run import PARTS, RunOptions, run
from tests.chaos.run import LOG
from tests.chaos.stored import Stored, StoredMessage


@pytest.mark.timeout(420)
async def test_responses_are_read_whole_while_every_part_is_killed(tmp_path: Path) -> None:
    report = await run(RunOptions(seconds=25, responses=12, seed=4, folder=tmp_path, every=3.0), print)
    lines = "\n".join(report.lines())
    assert report.good, (
        f"{lines}\n--- the last of the log ---\n{(tmp_path / LOG).read_text(errors='replace')[-20_000:]}"
    )
    assert all(report.kills[part] for part in PARTS)
    assert report.findings.cuts > 0


@pytest.mark.parametrize(
    ("changed", "violation"),
    [
        ({}, None),
        ({"numbers": [1, 2, 2]}, "twice"),
        ({"numbers": [2, 1, 3]}, "out of order"),
        ({"texts": {"msg": "Hell"}}, "deltas"),
        ({"final": {}}, "no end"),
        ({"texts": {"msg": "Hello!"}, "final": "Hello!"}, "are stored"),
    ],
)
def test_what_is_lost_or_doubled_is_found(changed: dict[str, object], violation: str | None) -> None:
    chat, answer = new_id(), new_id()
    stored = StoredMessage(
        id=answer,
        chat_id=chat,
        parent_id=None,
        role="assistant",
        content="Hello",
        reasoning="",
        status="complete",
        error=None,
        position=1,
        version=1,
    )

    def final(text: str) -> dict[str, object]:
        return {"output": [{"type": "message", "id": "msg", "status": "completed", "content": [{"text": text}]}]}

    reading = Reading(1, response_id(chat, answer), [1, 2, 3], {"msg": "Hello"}, 1, final("Hello"))
    for name, value in changed.items():
        setattr(reading, name, final(value) if name == "final" and isinstance(value, str) else value)
    violations = check([reading], Stored({}, {(chat, answer): stored}, [])).violations
    assert bool(violations) == (violation is not None)
    assert violation is None or violation in violations[0]
