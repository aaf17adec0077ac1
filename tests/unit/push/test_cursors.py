"""Cursors as clients send them."""

import pytest

from parley.contracts.frames import Cursor
from push.errors import BadFrame
from push.transport.cursors import check_cursor, parse_event_id

GENERATION = "0190a000-0000-7000-8000-000000000002"


def test_an_event_id_comes_back_as_the_cursor_it_was() -> None:
    text = f'{{"version":3,"generation_id":"{GENERATION}","attempt":1,"seq":7}}'
    assert parse_event_id(text) == Cursor(version=3, generation_id=GENERATION, attempt=1, seq=7)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "x",
        "[]",
        "{}",
        '{"version":"1"}',
        '{"version":-1}',
        '{"version":1,"seq":9007199254740992}',
        "\ud800",
        "12",
        '{"version":1,"x":' + "[" * 1_000_000 + "]" * 1_000_000 + "}",
    ],
)
def test_an_event_id_that_cannot_be_read_asks_for_everything(text: str | None) -> None:
    assert parse_event_id(text) is None


def test_a_cursor_of_numbers_that_were_never_sent_is_refused() -> None:
    with pytest.raises(BadFrame):
        check_cursor(Cursor(version=1, seq=-1))


def test_a_cursor_is_not_stored_with_an_id_of_any_length() -> None:
    assert check_cursor(Cursor(version=3, generation_id="x" * 65, seq=2)) == Cursor(version=3)
