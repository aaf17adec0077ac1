"""Cursors come back as they went out, and nothing else is one."""

import base64
import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_store.domain import cursors
from chat_store.domain.cursors import BeforeChat, BeforeHit, BeforeMessage
from chat_store.errors import Invalid


@given(st.integers(0, 2**60))
def test_a_cursor_comes_back_as_it_went_out(position: int) -> None:
    assert cursors.decode(cursors.encode(BeforeMessage(position)), BeforeMessage) == BeforeMessage(position)


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    for kind in (BeforeMessage, BeforeChat, BeforeHit):
        with pytest.raises(Invalid):
            cursors.decode(text, kind)


@pytest.mark.parametrize("kind", [BeforeMessage, BeforeChat, BeforeHit])
def test_one_that_is_nested_without_end_is_refused(kind: type) -> None:
    for text in (b"[" * 4000 + b"]" * 4000, b'["c",' + b"[" * 4000 + b"]" * 4000 + b"]", b'{"":' * 4000):
        with pytest.raises(Invalid):
            cursors.decode(base64.urlsafe_b64encode(b"[" + text + b"]").rstrip(b"=").decode(), kind)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(Invalid):
        cursors.decode(cursors.encode(BeforeMessage(1)), BeforeChat)


TIME, ID = "2026-11-22T21:04:05.120000+00:00", "0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a11"
FORGED = [
    ["c", "infinity", ID],
    ["c", "-infinity", ID],
    ["c", "epoch", ID],
    ["c", "", ID],
    ["c", "2026-11-22T21:04:05", ID],
    ["c", "0001-01-01T00:00:00+23:59", ID],
    ["c", "9999-12-31T23:59:59-23:59", ID],
    ["c", "4714-11-24T00:00:00Z BC", ID],
    ["c", TIME + "\0", ID],
    ["c", TIME, ID + "\0"],
    ["c", TIME, ID.upper()],
    ["c", TIME, "x"],
    ["c", TIME, 1],
    ["c", TIME],
    ["m", -1],
    ["m", 2**63],
    ["m", 2**64],
    ["m", 1.5],
    ["m", "1"],
    ["m", True],
    ["m", None],
    ["s", "infinity", TIME, ID, ID],
    ["s", "-inf", TIME, ID, ID],
    ["s", "nan", TIME, ID, ID],
    ["s", "1e400", TIME, ID, ID],
    ["s", "1e39", TIME, ID, ID],
    ["s", "0.1\0", TIME, ID, ID],
    ["s", "0.1); DROP TABLE chats", TIME, ID, ID],
    ["s", 1, "infinity", ID, ID],
    ["s", -1, TIME, ID, ID],
    ["s", 1, TIME, "x", ID],
    ["s", 1, TIME, ID, "\0"],
    ["x", 1],
    {},
    [],
    None,
]


@pytest.mark.parametrize("forged", [*map(json.dumps, FORGED), '["m",1e400]', '["m",1e18446744073709551616]'])
def test_what_no_list_gave_is_no_cursor(forged: str) -> None:
    cursor = base64.urlsafe_b64encode(forged.encode()).rstrip(b"=").decode()
    for kind in (BeforeMessage, BeforeChat, BeforeHit):
        with pytest.raises(Invalid):
            cursors.decode(cursor, kind)


def test_cursors_of_real_places_are_taken() -> None:
    time = datetime.fromisoformat(TIME)
    for place in (BeforeChat(time, ID), BeforeHit(0, time, ID, ID), BeforeHit(9, time, ID, ID)):
        assert cursors.decode(cursors.encode(place), type(place)) == place
