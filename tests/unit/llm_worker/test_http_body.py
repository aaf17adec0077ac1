"""A body comes out the same however the connection's bytes were cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_worker.http_body import Body, ChunkedBody, ProtocolViolation, SizedBody, UnsizedBody, body_of


def fed(body: Body, *reads: bytes) -> bytes:
    return b"".join(body.feed(read) for read in reads)


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=5)
EXTENSION = st.sampled_from([b"", b";name=value", b" ; a", b"  "])
TRAILERS = st.sampled_from([b"", b"x-checksum: 1\r\n", b"a: 1\r\nb: 2\r\n"])


def chunked(chunks: list[bytes], extension: bytes, trailers: bytes) -> bytes:
    return b"".join(b"%X%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks) + b"0%b\r\n%b\r\n" % (
        extension,
        trailers,
    )


@given(CHUNKS, EXTENSION, TRAILERS)
def test_a_chunked_body_cut_at_every_byte_gives_the_same(
    chunks: list[bytes], extension: bytes, trailers: bytes
) -> None:
    sent = chunked(chunks, extension, trailers)
    for cut in range(len(sent) + 1):
        body = ChunkedBody()
        assert fed(body, sent[:cut], sent[cut:]) == b"".join(chunks)
        assert body.done
        assert not body.surplus
    body = ChunkedBody()
    assert fed(body, *(sent[i : i + 1] for i in range(len(sent)))) == b"".join(chunks)
    assert body.done


def test_what_has_come_of_a_chunk_is_given_out_at_once() -> None:
    body = ChunkedBody()
    assert body.feed(b"a\r\n0123") == b"0123"
    assert body.feed(b"456789\r\n0\r\n") == b"456789"
    assert not body.done
    assert body.feed(b"\r\n") == b""
    assert body.done


def test_one_read_with_many_chunks_is_one_piece() -> None:
    assert ChunkedBody().feed(b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n") == b"abc"


def test_bytes_behind_the_body_are_told() -> None:
    body = ChunkedBody()
    body.feed(b"0\r\n\r\nHTTP/1.1 200 OK")
    assert body.done
    assert body.surplus


@pytest.mark.parametrize(
    "sent", [b"zz\r\n", b"-1\r\n", b"0x10\r\n", b"1_0\r\n", b"\r\n", b"1\r\nab\r\n", b"f" * 16 + b"\r\n", b"1" * 9000]
)
def test_bytes_that_are_not_chunks_are_refused(sent: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        ChunkedBody().feed(sent)


def test_a_chunked_body_that_breaks_off_is_not_whole() -> None:
    body = ChunkedBody()
    body.feed(b"5\r\nabc")
    assert not body.close()


def test_a_sized_body_ends_with_its_size() -> None:
    body = SizedBody(5)
    assert fed(body, b"ab", b"cdefg") == b"abcde"
    assert body.done
    assert body.surplus
    assert SizedBody(0).done


def test_a_sized_body_that_breaks_off_is_not_whole() -> None:
    body = SizedBody(5)
    body.feed(b"abc")
    assert not body.close()


def test_an_unsized_body_ends_with_the_connection() -> None:
    body = UnsizedBody()
    assert fed(body, b"ab", b"c") == b"abc"
    assert not body.done
    assert body.close()
    assert body.done


def test_the_framing_follows_the_head() -> None:
    assert isinstance(body_of(200, [(b"transfer-encoding", b"chunked"), (b"content-length", b"5")]), ChunkedBody)
    assert isinstance(body_of(200, [(b"content-length", b"5")]), SizedBody)
    assert isinstance(body_of(200, []), UnsizedBody)
    assert body_of(204, [(b"content-length", b"5")]).done


@pytest.mark.parametrize("header", [(b"transfer-encoding", b"gzip"), (b"content-length", b"-5")])
def test_a_framing_that_we_do_not_know_is_refused(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ProtocolViolation):
        body_of(200, [header])
