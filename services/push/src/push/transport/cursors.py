"""Cursors as clients send them: in ``watch``, and as the id of the last event. No I/O."""

from typing import Final

import msgspec

from parley.contracts.decoding import UNDECODABLE
from parley.contracts.frames import Cursor
from push.errors import BadFrame

_MAX_NUMBER: Final = 2**53  # what a JavaScript client can count to
_MAX_ID: Final = 64


def check_cursor(cursor: Cursor) -> Cursor:
    """Return the cursor without what cannot be a part of one.

    Raises:
        BadFrame: its numbers are none that we ever sent.
    """
    if not all(0 <= number < _MAX_NUMBER for number in (cursor.version, cursor.attempt, cursor.seq)):
        raise BadFrame("not a cursor")
    if cursor.generation_id is not None and len(cursor.generation_id) > _MAX_ID:
        return Cursor(version=cursor.version)  # it would be stored as long as the chat is watched
    return cursor


def parse_event_id(text: str | None) -> Cursor | None:
    """Read a ``Last-Event-ID``. What cannot be read is none: the reader is then sent everything."""
    if not text:
        return None
    try:
        return check_cursor(msgspec.json.decode(text, type=Cursor))
    except (*UNDECODABLE, UnicodeEncodeError, BadFrame):
        return None
