"""``parley chat``: the output, and the stored sessions."""

import io
import stat
from pathlib import Path

import msgspec

from parley.contracts.resources import Message, MessageError
from parley_cli.chat.printer import Printer
from parley_cli.chat.sessions import Sessions
from parley_client.state import Generation

_CHAT = "0190a000-0000-7000-8000-00000000000c"


def _generation(text: str, reasoning: str = "", attempt: int = 1) -> Generation:
    return Generation(
        generation_id="g", message_id="m", attempt=attempt, status="running", text=text, reasoning=reasoning
    )


def _message(content: str, status: str = "complete", error: MessageError | None = None) -> Message:
    return msgspec.convert(
        {
            "id": "m",
            "chat_id": _CHAT,
            "parent_id": None,
            "role": "assistant",
            "author_id": None,
            "content": content,
            "reasoning": "",
            "status": status,
            "model": None,
            "error": None if error is None else msgspec.to_builtins(error),
            "usage": None,
            "created_at": "2026-01-01T00:00:00Z",
            "version": 1,
        },
        Message,
    )


def test_an_answer_is_printed_once_as_it_grows() -> None:
    out, notes = io.StringIO(), io.StringIO()
    printer = Printer(out, notes)
    for text in ("He", "Hello", "Hello, you"):
        printer.show(_generation(text))
    assert printer.end(_message("Hello, you!"))
    assert out.getvalue() == "Hello, you!\n"
    assert notes.getvalue() == ""


def test_an_answer_that_starts_over_is_noted() -> None:
    out, notes = io.StringIO(), io.StringIO()
    printer = Printer(out, notes)
    printer.show(_generation("Hello"))
    printer.show(_generation("Good", attempt=2))
    assert printer.end(_message("Good day"))
    assert out.getvalue() == "HelloGood day\n"
    assert "starts again" in notes.getvalue()


def test_retries_are_reported_once_until_text_comes_again() -> None:
    out, notes = io.StringIO(), io.StringIO()
    printer = Printer(out, notes)
    for _ in range(12):
        retrying = _generation("He")
        retrying.status = "retrying"
        printer.show(retrying)
    assert notes.getvalue().count("it is retried") == 1
    printer.show(_generation("Hello"))
    again = _generation("Hello")
    again.status = "retrying"
    printer.show(again)
    assert notes.getvalue().count("it is retried") == 2
    assert out.getvalue() == "Hello"


def test_failures_are_noted_and_set_the_outcome() -> None:
    out, notes = io.StringIO(), io.StringIO()
    printer = Printer(out, notes)
    printer.show(_generation("", reasoning="Hmm."))
    error = MessageError(code="provider_auth", message="Set OPENAI_API_KEY.", retryable=True)
    assert not printer.end(_message("", "failed", error))
    assert out.getvalue() == ""
    assert "Set OPENAI_API_KEY." in notes.getvalue()


def test_sessions_are_stored_by_server_and_private(tmp_path: Path) -> None:
    file = tmp_path / "parley" / "sessions.json"
    sessions = Sessions(file)
    assert sessions.get("http://one") == {}
    sessions.set("http://one", {"parley_session_1": "a=b", "other": "c"})
    sessions.set("http://two", {"parley_session_2": "d"})
    assert Sessions(file).get("http://one") == {"parley_session_1": "a=b", "other": "c"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("{")
    assert Sessions(file).get("http://one") == {}


def test_a_token_that_the_version_before_stored_is_sent_as_the_cookie_that_it_was(tmp_path: Path) -> None:
    file = tmp_path / "sessions.json"
    file.write_text('{"http://one": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"}')
    assert Sessions(file).get("http://one") == {"parley_session": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"}
