"""A log that nobody reads costs lines, never time."""

import os
import subprocess
import sys
import time

import pytest
from prometheus_client import REGISTRY

from parley.runtime.log_writer import LogWriter


def _drain(descriptor: int, until: bytes) -> bytes:
    """Read until the text has come."""
    read = b""
    while until not in read:
        read += os.read(descriptor, 65536)
    return read


def _dropped() -> float:
    return REGISTRY.get_sample_value("parley_log_lines_dropped_total") or 0.0


def test_lines_come_out_whole_and_in_order() -> None:
    reading, writing = os.pipe()
    writer = LogWriter(writing)
    for number in range(20_000):
        writer.write(f"line {number}\n")
    read = _drain(reading, b"line 19999\n")
    assert read.decode().splitlines() == [f"line {number}" for number in range(20_000)]
    writer.close()


def test_writing_does_not_wait_for_a_reader_and_what_is_dropped_is_counted_and_reported_in_its_place() -> None:
    reading, writing = os.pipe()
    writer = LogWriter(writing, max_pending=100_000)
    before = _dropped()
    for number in range(10_000):
        writer.write(f"line {number:>94}\n")
    dropped = int(_dropped() - before)
    assert 0 < dropped < 10_000
    read = _drain(reading, b"log lines were dropped")
    writer.write("after\n")
    read += _drain(reading, b"after\n")
    *kept, gap, after = read.decode().splitlines()
    assert gap == f"({dropped} log lines were dropped here: nobody read them in time)"
    assert after == "after"
    assert kept == [f"line {number:>94}" for number in range(10_000 - dropped)]
    writer.close()


def test_closing_waits_for_the_last_lines_but_not_for_a_reader_who_never_comes() -> None:
    reading, writing = os.pipe()
    writer = LogWriter(writing)
    writer.write("last words\n")
    writer.close(timeout=30)
    assert os.read(reading, 100) == b"last words\n"
    stuck = LogWriter(writing)
    stuck.write("x" * 1_000_000 + "\n")
    stuck.close(timeout=0.01)
    assert _drain(reading, b"\n").endswith(b"x\n"), "a line that was begun is still finished when somebody reads"


def test_a_reader_who_is_gone_ends_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    writer = LogWriter(writing)
    writer.write("nobody hears this\n")
    writer.close(timeout=30)
    assert not writer._thread.is_alive()


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_service_logs_on_while_nobody_reads_and_ends_when_it_should(format: str) -> None:
    program = f"""
import logging
from parley.runtime import logs
logs.setup("test", "INFO", "{format}")
for number in range(100_000):
    logging.getLogger("x").info("a line of some length, number %d", number)
print("went on", flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        assert process.stdout.readline() == b"went on\n", "the log did not stop the program"
        assert process.wait(60) == 0, "nor its end"
        assert b"number 0" in process.stderr.read()


def test_the_last_line_before_the_end_is_written() -> None:
    program = """
import logging
from parley.runtime import logs
logs.setup("test")
logging.getLogger("x").critical("the reason of the end")
raise SystemExit(3)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert ended.returncode == 3
    assert b"the reason of the end" in ended.stderr


def test_a_descriptor_that_does_not_block_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    writer = LogWriter(writing)
    text = "y" * 500_000
    writer.write(text + "\n")
    deadline = time.monotonic() + 30
    read = b""
    while not read.endswith(b"\n") and time.monotonic() < deadline:
        read += os.read(reading, 65536)
    assert read.decode() == text + "\n"
    writer.close(timeout=30)
