import pytest
from websockets.frames import Frame, Opcode

from parley.contracts.frames import Delta
from push.rooms import framing
from tests.support.chat_store.scripted_chat import CHAT_ID
from tests.unit.push.world import unframe


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_a_text_frame_is_what_the_library_makes(length: int) -> None:
    payload = b"x" * length
    assert framing.text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


def test_a_ping_is_what_the_library_makes() -> None:
    assert Frame(Opcode.PING, b"").serialize(mask=False) == framing.PING


def test_frames_are_encoded_as_on_the_bus() -> None:
    delta = Delta(chat_id=CHAT_ID, generation_id="g", attempt=1, from_=2, to=3, kind="text", text="ä\n")
    assert unframe(framing.encode(delta)) == [delta]
    assert b'"from":2' in framing.encode(delta)
