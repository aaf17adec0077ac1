"""Traces cross processes by the headers of messages, and cost nothing when they are off."""

import json
import subprocess
import sys
from pathlib import Path

from parley.runtime import tracing

PROGRAM = """
import sys
from parley.runtime import tracing
tracing.setup("test")
with tracing.span("request", kind="server", attributes={"n": 1}):
    headers = tracing.inject()
with tracing.span("handle", kind="consumer", parent=headers) as span:
    span.fail("refused")
with tracing.span("other", parent={}):
    pass
tracing.shutdown()
"""


def test_a_span_in_another_process_joins_the_trace_of_the_message(tmp_path: Path) -> None:
    file = tmp_path / "traces"
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env={"TRACES_FILE": str(file)}, timeout=60)
    request, handle, other = (json.loads(line) for line in file.read_text().splitlines())
    assert handle["context"]["trace_id"] == request["context"]["trace_id"]
    assert handle["parent_id"] == request["context"]["span_id"]
    assert handle["status"] == {"status_code": "ERROR", "description": "refused"}
    assert request["attributes"] == {"n": 1}
    assert other["context"]["trace_id"] != request["context"]["trace_id"]
    assert request["resource"]["attributes"]["service.name"] == "test"


def test_without_a_place_to_send_them_nothing_is_traced_or_imported() -> None:
    with tracing.span("request") as span:
        span.set_attribute("n", 1)
        assert tracing.inject() == {}
    program = (
        "import sys; from parley.runtime import tracing; tracing.setup('x'); print('opentelemetry' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program], check=True, env={}, capture_output=True, timeout=60)
    assert shown.stdout == b"False\n"


def test_a_json_log_line_carries_the_ids_of_the_current_trace_and_span(tmp_path: Path) -> None:
    program = """
import logging
from parley.runtime import logs, tracing
logs.setup("test", "INFO", "json")
tracing.setup("test")
log = logging.getLogger("x")
log.info("before")
with tracing.span("request"):
    log.info("inside", extra={"chat_id": "c"})
tracing.shutdown()
"""
    file = tmp_path / "traces"
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, env={"TRACES_FILE": str(file)}, capture_output=True, timeout=60
    )
    before, inside = (json.loads(line) for line in run.stderr.splitlines())
    (span,) = (json.loads(line) for line in file.read_text().splitlines())
    assert "trace_id" not in before
    assert (inside["chat_id"], "0x" + inside["trace_id"]) == ("c", span["context"]["trace_id"])
    assert "0x" + inside["span_id"] == span["context"]["span_id"]
