"""Events come out the same however the bytes were cut into reads."""

import itertools
import time

from hypothesis import example, given
from hypothesis import strategies as st

from llm_worker.provider.sse import Event, EventDecoder


def decoded(*reads: bytes) -> list[Event]:
    decoder = EventDecoder()
    return [event for read in reads for event in decoder.feed(read)]


def by_the_standard(stream: bytes) -> list[Event]:
    """The standard's algorithm, line by line over the whole stream, as plainly as it can be written."""
    lines = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    events: list[Event] = []
    name, data = b"", b""
    for line in lines[:-1]:  # what follows the last line end is not a line yet
        if line == b"":
            if data:
                events.append(Event(name, data[:-1]))
            name, data = b"", b""
            continue
        field, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if field == b"data":
            data += value + b"\n"
        elif field == b"event":
            name = value
    return events


LINE = st.sampled_from(
    [
        b"data: {}",
        b"data:{}",
        b"data:  two spaces",
        b"data",
        b"data:",
        "data: zażółć 🦜".encode(),
        b": a comment",
        b":",
        b"event: error",
        b"event:",
        b"id: 7",
        b"retry: 100",
        b"unknown: field",
        b"data: a:b",
        b"",
        b"",
    ]
)
LINE_END = st.sampled_from([b"\n", b"\r", b"\r\n"])
STREAM = st.builds(
    lambda bom, lines, tail: bom + b"".join(line + end for line, end in lines) + tail,
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(st.tuples(LINE, LINE_END), max_size=12),
    st.sampled_from([b"", b"data: cut", b"\n", b"\n\n"]),
)


@given(STREAM)
def test_a_stream_in_one_read_is_decoded_as_the_standard_defines(stream: bytes) -> None:
    assert decoded(stream) == by_the_standard(stream)


@given(STREAM)
def test_a_stream_cut_at_every_byte_gives_the_same(stream: bytes) -> None:
    whole = by_the_standard(stream)
    assert decoded(*(stream[i : i + 1] for i in range(len(stream)))) == whole
    for cut in range(len(stream) + 1):
        assert decoded(stream[:cut], stream[cut:]) == whole


@given(STREAM, st.data())
def test_a_stream_cut_anywhere_several_times_gives_the_same(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    bounds = [0, *cuts, len(stream)]
    assert decoded(*(stream[a:b] for a, b in itertools.pairwise(bounds))) == by_the_standard(stream)


def test_several_data_lines_are_one_event() -> None:
    assert decoded(b"data: a\ndata: b\n\n") == [Event(b"", b"a\nb")]


def test_a_character_cut_in_two_reads_stays_whole() -> None:
    stream = "data: 🦜\n\n".encode()
    assert decoded(stream[:8], stream[8:]) == [Event(b"", "🦜".encode())]


def test_an_event_that_the_stream_ends_in_comes_out_at_its_end() -> None:
    decoder = EventDecoder()
    assert decoder.feed(b"data: whole\n\ndata: last\n") == [Event(b"", b"whole")]
    assert decoder.close() == [Event(b"", b"last")]
    assert decoder.close() == []


def test_a_line_of_json_needs_no_field() -> None:
    assert decoded(b'{"error": "a: b"}\n\ndata: x\n\n') == [Event(b"", b'{"error": "a: b"}'), Event(b"", b"x")]


def test_an_event_comes_out_as_soon_as_its_blank_line_is_there() -> None:
    decoder = EventDecoder()
    assert decoder.feed(b"data: a\r\n\r") == [Event(b"", b"a")]
    assert decoder.feed(b"\ndata: b\r\n\r\n") == [Event(b"", b"b")]


SMALL = 20


@given(
    st.lists(st.integers(0, 2 * SMALL), min_size=1, max_size=4),
    st.lists(st.integers(0, 100), max_size=6),
)
@example(sizes=[0, 36, 40, 0], cuts=[100])
def test_a_too_large_event_is_where_decoding_ends_however_it_is_cut(sizes: list[int], cuts: list[int]) -> None:
    stream = b"".join(b"data: " + b"x" * size + b"\n\n" for size in sizes)
    wanted = list(itertools.takewhile(lambda size: size + len(b"data: ") <= SMALL, sizes))
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    decoder = EventDecoder(max_event_bytes=SMALL)
    events = [event for a, b in itertools.pairwise(bounds) for event in decoder.feed(stream[a:b])]
    assert [len(event.data) for event in events] == wanted
    assert decoder.overflowed == (len(wanted) < len(sizes))
    assert decoder.close() == []


def test_a_large_event_in_small_reads_costs_no_more_than_its_size() -> None:
    decoder = EventDecoder()
    stream = b"data: " + b"x" * 2_000_000 + b"\n\n"
    began = time.process_time()
    events = [event for at in range(0, len(stream), 20) for event in decoder.feed(stream[at : at + 20])]
    assert [len(event.data) for event in events] == [2_000_000]
    assert time.process_time() - began < 5, "joined at each read, it takes minutes"
