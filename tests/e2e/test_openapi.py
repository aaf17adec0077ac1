"""The interface does what its OpenAPI document says, whatever a program makes of the document."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.stack import RunningStack

# A cursor of no list, and text of invisible characters, are valid for a schema and a 422 all the same.
_CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429"]
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "414", "415", "422", "428", "429", "5xx"]
"""
"""A parameter that is far too long is a 414, which is not among the statuses that Schemathesis expects by itself."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RunningStack(tmp_path_factory.mktemp("openapi") / "data") as stack:
        yield stack.url


ENDS_SESSIONS = ("end_session", "end_sessions", "erase_me")
"""Operations after which the requests that follow would all be refused."""


@pytest.mark.parametrize(
    "selected",
    [
        [
            *(f"--exclude-operation-id={name}" for name in ENDS_SESSIONS),
            # A stream has no end: tests/integration/gateway/test_stream.py reads it.
            "--exclude-path=/v1/chats/{chat_id}/stream",
            # Each request waits for the whole answer: tests/unit/gateway/openai has its parameters.
            "--exclude-path=/openai/v1/chat/completions",
            "--exclude-path=/openai/v1/responses",
            "--exclude-path-regex=^/(ai-sdk|ag-ui)",
        ],
        *([f"--include-operation-id={name}"] for name in ENDS_SESSIONS),
    ],
    ids=["all others", *ENDS_SESSIONS],
)
def test_no_request_gets_an_error_of_the_server_or_what_is_not_documented(
    url: str, tmp_path: Path, selected: list[str]
) -> None:
    (tmp_path / "schemathesis.toml").write_text(_CONFIG)
    token = httpx.post(f"{url}/v1/session", trust_env=False).json()["access_token"]
    run = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "run", f"{url}/openapi.json", "--no-color"),
            *("--checks", "all", "--phases", "coverage,fuzzing", "--max-examples", "5", "--seed", "1"),
            *("--header", f"Authorization: Bearer {token}"),
            *selected,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-10_000:]
