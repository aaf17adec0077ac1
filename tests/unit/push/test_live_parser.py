"""Live messages are taken straight from what was read, however it was cut."""

from push.bus.connection import LiveClient
from push.bus.delta_headers import DeltaHeaders

_TRACED = b"NATS/1.0\r\nTraceparent: 00-ab-cd-01\r\n\r\n"
_WIRE = (
    b"MSG live.a.delta 7 5\r\nfirst\r\n"
    b"MSG live.b.delta 8 8\r\nMSG \r\nab\r\n"
    b"MSG _INBOX.x 9 _INBOX.y 5\r\nreply\r\n"
    b"+OK\r\n"
    b"MSG other 10 2\r\nno\r\n"
    b"HMSG live.a.delta 7 %d %d\r\n%btraced\r\n"
    b"MSG live.a.delta 7 0\r\n\r\n"
    b"MSG live.b.delta 8 4\r\nlast\r\n" % (len(_TRACED), len(_TRACED) + 6, _TRACED)
)
_EXPECTED = [
    (b"live.a.delta", b"first", None),
    (b"live.b.delta", b"MSG \r\nab", None),
    (b"live.a.delta", b"traced", DeltaHeaders("00-ab-cd-01")),
    (b"live.a.delta", b"", None),
    (b"live.b.delta", b"last", None),
]


async def taken(*reads: bytes) -> list[tuple[bytes, bytes, DeltaHeaders | None]]:
    client = LiveClient()
    got: list[tuple[bytes, bytes, DeltaHeaders | None]] = []
    for sid in (7, 8):
        client._live[sid] = lambda *message: got.append(message)
    for read in reads:
        await client._ps.parse(read)
    assert client.stats["in_msgs"] == 2  # the library's own
    return got


async def test_one_read_may_hold_everything() -> None:
    assert await taken(_WIRE) == _EXPECTED


async def test_a_read_may_end_anywhere() -> None:
    for cut in range(1, len(_WIRE)):
        assert await taken(_WIRE[:cut], _WIRE[cut:]) == _EXPECTED


async def test_reads_may_be_as_small_as_they_like() -> None:
    for size in (1, 2, 3, 5, 7, 11):
        reads = [_WIRE[start : start + size] for start in range(0, len(_WIRE), size)]
        assert await taken(*reads) == _EXPECTED
