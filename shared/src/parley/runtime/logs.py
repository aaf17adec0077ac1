"""Logs on standard error: one line per event, readable or JSON. Fields come from ``extra={…}``.

Logging never waits: a reader of standard error who stands still costs lines, not answers
(:class:`parley.runtime.log_writer.LogWriter`).

JSON lines carry the ids of the current trace and span, when there is one.
"""

import atexit
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from parley.runtime import tracing
from parley.runtime.log_writer import LogWriter

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class _ConsoleFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items())
        line = f"{record.levelname:<7} {record.name}: {record.getMessage()}{fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class _JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if (ids := tracing.current_ids()) is not None:
            entry["trace_id"], entry["span_id"] = ids
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry, enc_hook=str).decode()


def setup(service: str, level: str = "INFO", format: Literal["console", "json"] = "console") -> None:
    """Send all logs of this process to standard error. Called once, by ``__main__``."""
    writer = LogWriter(sys.stderr.fileno())
    atexit.register(writer.close)
    handler = logging.StreamHandler(writer)
    handler.setFormatter(_JsonFormatter(service) if format == "json" else _ConsoleFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # These log each request or reconnect attempt, which Parley's own lines report better.
    for noisy in (
        "httpx",
        "httpx2",
        "httpcore",
        "httpcore2",
        "openai",
        "nats",
        "faststream",
        "websockets",
        "uvicorn.access",
    ):
        logging.getLogger(noisy).setLevel(logging.WARNING)
