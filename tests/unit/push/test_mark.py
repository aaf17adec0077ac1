"""What the headers of a live message say beside its text."""

import pytest

from push.bus.delta_headers import Mark, mark_of


@pytest.mark.parametrize(
    ("lines", "mark"),
    [
        ([], None),
        (["Other: 1"], None),
        (["Traceparent: 00-ab-cd-01"], Mark("00-ab-cd-01")),
        (["Parley-Read-At: 1700000000.25"], Mark(read_at=1_700_000_000.25)),
        (["parley-read-at: 2.5", "traceparent: 00-ab-cd-01"], Mark("00-ab-cd-01", 2.5)),
        (["Parley-Read-At: yesterday"], None),
    ],
)
def test_a_mark_is_found_whatever_else_there_is(lines: list[str], mark: Mark | None) -> None:
    head = "".join(f"{line}\r\n" for line in ["NATS/1.0", *lines, ""])
    assert mark_of(head.encode()) == mark
