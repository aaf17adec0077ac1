"""What the headers of a live message say in addition to its text."""

import pytest

from push.bus.delta_headers import DeltaHeaders, parse_headers


@pytest.mark.parametrize(
    ("lines", "mark"),
    [
        ([], None),
        (["Other: 1"], None),
        (["Traceparent: 00-ab-cd-01"], DeltaHeaders("00-ab-cd-01")),
        (["Parley-Read-At: 1700000000.25"], DeltaHeaders(read_at=1_700_000_000.25)),
        (["parley-read-at: 2.5", "traceparent: 00-ab-cd-01"], DeltaHeaders("00-ab-cd-01", 2.5)),
        (["Parley-Read-At: yesterday"], None),
    ],
)
def test_a_mark_is_found_whatever_else_there_is(lines: list[str], mark: DeltaHeaders | None) -> None:
    head = "".join(f"{line}\r\n" for line in ["NATS/1.0", *lines, ""])
    assert parse_headers(head.encode()) == mark
