import pytest

from push.bus.connection import LiveClient
from push.bus.delta_headers import DeltaHeaders


async def test_a_live_message_reaches_its_handler_within_the_read() -> None:
    client = LiveClient()
    got: list[tuple[bytes, bytes, DeltaHeaders | None]] = []
    client._live[7] = lambda *message: got.append(message)
    await client._process_msg(7, b"live.x.delta", b"", b"{}", b"")
    headers = b"NATS/1.0\r\nOther: 1\r\nTraceparent: 00-ab-cd-01\r\n\r\n"
    await client._process_msg(7, b"live.x.delta", b"", b"{}", headers)
    await client._process_msg(7, b"live.x.delta", b"", b"{}", b"NATS/1.0\r\n\r\n")
    assert got == [
        (b"live.x.delta", b"{}", None),
        (b"live.x.delta", b"{}", DeltaHeaders("00-ab-cd-01")),
        (b"live.x.delta", b"{}", None),
    ]


async def test_one_room_s_failure_does_not_end_the_reading_of_all(caplog: pytest.LogCaptureFixture) -> None:
    client = LiveClient()

    def fail(subject: bytes, payload: bytes, mark: DeltaHeaders | None) -> None:
        raise RuntimeError("a bug")

    client._live[7] = fail
    await client._process_msg(7, b"live.x.delta", b"", b"{}", b"")
    assert "could not be handled" in caplog.text


async def test_a_message_without_a_handler_is_the_library_s() -> None:
    client = LiveClient()
    await client._process_msg(8, b"live.x.delta", b"", b"{}", b"")
    assert client.stats["in_msgs"] == 1
