"""Cursors come back as they went out, and nothing else is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_store import cursors
from chat_store.cursors import BeforeChat, BeforeHit, BeforeMessage
from chat_store.errors import Invalid


@given(st.integers(0, 2**60))
def test_a_cursor_comes_back_as_it_went_out(position: int) -> None:
    assert cursors.decode(cursors.encode(BeforeMessage(position)), BeforeMessage) == BeforeMessage(position)


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    for kind in (BeforeMessage, BeforeChat, BeforeHit):
        with pytest.raises(Invalid):
            cursors.decode(text, kind)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(Invalid):
        cursors.decode(cursors.encode(BeforeMessage(1)), BeforeChat)
