"""``parley doctor`` names what is wrong, on real servers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

import asyncpg
import pytest
import pytest_asyncio
from nats.js.api import StreamConfig

from parley.contracts import streams
from parley.contracts.access.permissions import USERS
from parley.runtime.nats.connect import connect
from parley.runtime.nats.provision import provision
from parley_cli.doctor import provider_check, settings_check
from parley_cli.doctor import target as targets
from parley_cli.doctor.checks import run_checks
from parley_cli.doctor.clock import Clock
from parley_cli.doctor.report import Finding
from parley_cli.embedded.guard import guarded
from parley_cli.embedded.nats import NatsServer, nats_program
from parley_cli.embedded.ports import free_port
from parley_cli.stack import state
from tests.support.bus_passwords import random_passwords
from tests.support.databases import Databases
from tests.support.demo_model import DemoModelProcess
from tests.support.pausing import pause
from tests.support.stack import RunningStack
from tests.support.waiting import eventually, wait_until

KEY = "k" * 48


@dataclass
class Result:
    """The findings of a run."""

    findings: list[Finding]

    @property
    def problems(self) -> list[str]:
        return [finding.text for finding in self.findings if finding.level == "problem"]

    def fix(self, text: str) -> str:
        return next(finding.fix for finding in self.findings if text in finding.text)

    def has(self, level: str, text: str) -> bool:
        return any(finding.level == level and text in finding.text for finding in self.findings)


@dataclass
class Installation:
    """An installation as the environment describes it, with nothing wrong but what a test breaks."""

    folder: Path
    nats: NatsServer
    passwords: dict[str, str]
    environment: dict[str, str]
    ports: dict[str, int] = field(default_factory=lambda: {"page": free_port(), "websocket": free_port()})

    def url_of(self, user: str) -> str:
        return f"nats://{user}:{self.passwords[user]}@127.0.0.1:{self.nats.port}"

    async def check(self, *, clock: Clock = time.time, **changed: str) -> Result:
        """Run all checks; an empty value leaves a setting out."""
        given = {name: value for name, value in (self.environment | changed).items() if value}
        return await run_doctor(given, self.folder / "none", self.ports, clock=clock)


async def run_doctor(
    environment: dict[str, str], folder: Path, ports: dict[str, int], *, clock: Clock = time.time
) -> Result:
    """Run all checks in this process, as the command does with this environment."""
    with patch.dict(os.environ, environment, clear=True):
        return Result(await run_checks(targets.find_target(folder, ports), clock=clock))


def run_command(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "parley_cli.main", "doctor", *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest_asyncio.fixture
async def here(tmp_path: Path, databases: Databases, demo_model: str) -> AsyncIterator[Installation]:
    """A sound installation; its servers end with the test."""
    passwords = random_passwords()
    nats = NatsServer(tmp_path / "nats", passwords=passwords, monitor_port=free_port())
    nats.start()
    nc = await connect(nats.url_of("migrate"), name="test")
    await provision(nc)
    await nc.close()
    yield Installation(
        tmp_path,
        nats,
        passwords,
        {
            "NATS_URL": nats.url,
            "NATS_MONITOR_URL": f"http://127.0.0.1:{nats.monitor_port}",
            "DATABASE_URL": databases.migrated(),
            "SECRET_KEY": KEY,
            "OPENAI_BASE_URL": demo_model,
            "MODEL": "demo",
        },
    )
    nats.stop()


async def test_nothing_is_wrong_with_a_sound_installation(here: Installation) -> None:
    result = await here.check()
    assert result.problems == []
    assert result.has("ok", "is synced to disk before it is acknowledged")
    assert result.has("ok", "The user operator has all its permissions")
    assert result.has("ok", "streams and 4 consumers are as they are declared")
    assert result.has("ok", "The schema has the version")
    # Looking leaves nothing behind, and every other user has all its permissions, too.
    for user in USERS:
        seen = await here.check(NATS_URL=here.url_of(user.user))
        assert seen.problems == [], user.user
        assert seen.has("ok", f"The user {user.user} has all its permissions")
    assert not (await here.check()).has("note", "dead letters")


# --- the command ------------------------------


async def test_the_command_prints_findings_as_json_and_ends_with_zero_when_nothing_is_wrong(here: Installation) -> None:
    ports = [f"--port={here.ports['page']}", f"--push-port={here.ports['websocket']}"]
    done = await asyncio.to_thread(run_command, here.environment, "--json", "--data", str(here.folder / "none"), *ports)
    assert (done.returncode, done.stderr) == (0, "")
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(finding.keys() >= {"about", "level", "text", "remedy"} for finding in findings)
    assert [finding["text"] for finding in findings if finding["level"] == "problem"] == []
    assert {"settings", "ports", "nats", "postgres", "provider"} <= {finding["about"] for finding in findings}


async def test_the_command_prints_problems_with_their_fixes_and_ends_with_one(here: Installation) -> None:
    here.nats.stop()
    ports = [f"--port={here.ports['page']}", f"--push-port={here.ports['websocket']}"]
    done = await asyncio.to_thread(run_command, here.environment, "--data", str(here.folder / "none"), *ports)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith("nats      PROBLEM ")]
    assert "NATS does not answer" in lines[at]
    assert lines[at + 1].startswith("                  → Start it, or set NATS_URL")
    assert lines[-1] == "1 problem."


# --- settings ------------------------------


async def test_settings_of_a_service_that_runs_beside_it_are_not_its_own(here: Installation) -> None:
    result = await here.check(LOG_FORMAT="json", LOG_LEVEL="DEBUG", HEALTH_PORT="9000")
    assert result.problems == []


async def test_a_short_key_and_values_that_cannot_be(here: Installation) -> None:
    result = await here.check(SECRET_KEY="short", PROMPT_BATCH="many", NATS_URL="http://nowhere")
    assert "SECRET_KEY has 5 bytes, and needs 32 or more." in result.problems
    assert "secrets.token_urlsafe" in result.fix("SECRET_KEY")
    assert any(problem.startswith("PROMPT_BATCH: ") and "chat-store" in problem for problem in result.problems)
    assert any(problem.startswith("NATS_URL: begins with http://") for problem in result.problems)


async def test_settings_that_contradict_each_other(here: Installation) -> None:
    result = await here.check(AUTH_MODES="oidc", TOKENS_PER_DAY_OF_GROUPS="staff=10")
    assert "OIDC_ISSUER must be set, as AUTH_MODES has `oidc` (gateway)." in result.problems
    assert any(problem.startswith("TOKENS_PER_DAY_OF_GROUPS: must be JSON: ") for problem in result.problems)


def test_settings_are_compared_even_where_those_are_missing_that_a_stack_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NATS_URL", "DATABASE_URL", "SECRET_KEY", "SECRETS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AUTH_MODES", "oidc")
    found = settings_check.check(targets.Target()).findings
    assert any("OIDC_ISSUER must be set" in finding.text and finding.level == "problem" for finding in found)
    assert any("SECRET_KEY is not set" in finding.text and finding.level == "note" for finding in found)


async def test_a_port_that_another_program_has(here: Installation) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", here.ports["websocket"]))
        other.listen()
        result = await here.check()
    assert result.problems == [f"Port {here.ports['websocket']}, for the websocket, is taken by another program."]
    assert "parley up --push-port N" in result.fix("is taken")


# --- NATS ------------------------------


async def test_nats_that_is_away(here: Installation) -> None:
    here.nats.stop()
    result = await here.check()
    assert len(result.problems) == 1
    assert result.problems[0].startswith(f"NATS does not answer at 127.0.0.1:{here.nats.port}: ")
    assert "Connect" in result.problems[0]


async def test_a_password_that_nats_refuses(here: Installation) -> None:
    result = await here.check(NATS_URL=f"nats://operator:wrong@127.0.0.1:{here.nats.port}")
    assert result.problems == [f"NATS at 127.0.0.1:{here.nats.port} refuses the user or the password (operator)."]


def _serve(folder: Path, config: str) -> subprocess.Popen[bytes]:
    file = folder / "other.conf"
    file.write_text(config)
    return subprocess.Popen(
        guarded([nats_program(), "--config", str(file)]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.fixture
def bare_nats(tmp_path: Path) -> Iterator[str]:
    """A nats-server as it is by default: no JetStream, no users."""
    port = free_port()
    process = _serve(tmp_path, f"listen: 127.0.0.1:{port}\nmax_payload: 65536\n")
    try:
        wait_until(lambda: _listens(port), what="nats-server")
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_nats_without_jetstream_and_with_small_messages(here: Installation, bare_nats: str) -> None:
    result = await here.check(NATS_URL=bare_nats)
    assert result.problems == [
        "The maximum payload is 65536 bytes; answers need 1 MiB.",
        "JetStream is off.",
    ]
    assert result.has("note", "none of Parley's users")


async def test_streams_that_nobody_made(here: Installation) -> None:
    with NatsServer(here.folder / "new") as new:
        result = await here.check(NATS_URL=new.url)
    assert "The stream CHAT does not exist." in result.problems
    assert result.fix("The stream CHAT") == "Run `parley migrate`."


async def test_a_stream_and_a_consumer_that_were_changed(here: Installation) -> None:
    nc = await connect(here.nats.url, name="test")
    js = nc.jetstream()
    config = (await js.stream_info("CHAT")).config
    await js.update_stream(StreamConfig.from_response({**config.as_dict(), "max_age": 60 * 10**9 * 20}))
    await js.delete_consumer("CHAT", streams.LLM_WORKER_REQUESTS.name)
    await nc.close()
    result = await here.check()
    assert any("stream CHAT exists with other settings: max_age is 1200" in problem for problem in result.problems)
    assert "The consumer llm-worker-requests of CHAT does not exist." in result.problems


async def test_users_that_lack_permissions(here: Installation) -> None:
    config = here.folder / "nats" / "nats-server.conf"
    text = config.read_text()
    for line in ('          "rpc.store.*"\n', '          "chat.*.prompt.submitted"\n'):
        assert line in text
        text = text.replace(line, '          "nothing.at.all"\n', 1)
    config.write_text(text)
    here.nats.process.send_signal(signal.SIGHUP)

    async def missed() -> bool:
        result = await here.check(NATS_URL=here.url_of("gateway"))
        return result.problems == ["The user gateway may not publish to chat.*.prompt.submitted."]

    await eventually(
        missed,
        deadline=40,
        what="the gateway's permissions being missed",
    )
    result = await here.check(NATS_URL=here.url_of("chat-store"))
    assert result.problems == ["The user chat-store may not subscribe to rpc.store.*."]
    assert "deploy/nats" in result.fix("chat-store may not")


async def test_writes_that_are_acknowledged_before_they_are_on_the_disk(here: Installation) -> None:
    here.nats.stop()
    config = here.folder / "nats" / "nats-server.conf"
    text = config.read_text().replace(', "sync_interval": "always"', "")
    process = _serve(here.folder, text)
    try:
        wait_until(lambda: _listens(here.nats.port), what="nats-server")
        result = await here.check()
    finally:
        process.kill()
        process.wait()
    assert len(result.problems) == 1
    assert "before they are synced to disk" in result.problems[0]
    assert "sync_interval: always" in result.fix("synced to disk")


async def test_messages_that_no_service_fetches_are_reported(here: Installation) -> None:
    nc = await connect(here.url_of("gateway"), name="test")
    await nc.jetstream().publish("chat.c.prompt.submitted", b"{}")
    await nc.close()
    result = await here.check()
    assert result.problems == ["1 messages are pending for chat-store-prompts, and no service fetches them."]


async def test_a_clock_that_is_wrong(here: Installation) -> None:
    result = await here.check(clock=lambda: time.time() - 90)
    assert result.problems == [
        "The clock of NATS is 90 s ahead of the one here.",
        "The clock of Postgres is 90 s ahead of the one here.",
    ]


# --- Postgres ------------------------------


async def test_postgres_that_is_away_or_refuses(here: Installation) -> None:
    good = here.environment["DATABASE_URL"]
    port = free_port()
    for changed, problem in (
        (f"postgresql://parley:test@127.0.0.1:{port}/x", f"Postgres does not answer at 127.0.0.1:{port}/x: "),
        (good.replace(":test@", ":wrong@"), "refuses the role or the password: password authentication failed"),
        (f"{good}_not", "has no such database: "),
    ):
        result = await here.check(DATABASE_URL=changed)
        assert len(result.problems) == 1
        assert problem in result.problems[0]
        assert ":test@" not in str(result.findings)


async def test_the_version_of_postgres_is_what_the_server_reports(here: Installation) -> None:
    connection = await asyncpg.connect(here.environment["DATABASE_URL"])
    try:
        said = str(await connection.fetchval("SHOW server_version")).split()[0]
    finally:
        await connection.close()
    assert re.fullmatch(r"\d+\.\d+|\d+(devel|beta\d+|rc\d+)", said)
    assert (await here.check()).has("ok", f"answers, version {said}.")


async def test_a_schema_that_is_missing_too_new_or_out_of_reach(here: Installation, databases: Databases) -> None:
    result = await here.check(DATABASE_URL=databases.empty())
    assert any("schema version 0" in problem for problem in result.problems)

    connection = await asyncpg.connect(here.environment["DATABASE_URL"])
    await connection.execute("DROP ROLE IF EXISTS nobody_in_particular")
    await connection.execute("CREATE ROLE nobody_in_particular LOGIN PASSWORD 'test'")
    await connection.execute("GRANT USAGE ON SCHEMA public TO nobody_in_particular")
    await connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO nobody_in_particular")
    result = await here.check(
        DATABASE_URL=here.environment["DATABASE_URL"].replace("parley:test@", "nobody_in_particular:test@")
    )
    assert len(result.problems) == 1
    assert result.problems[0].startswith("The role nobody_in_particular lacks privileges: ")
    assert " chats (DELETE, INSERT, UPDATE);" in result.problems[0]

    await connection.execute("INSERT INTO schema_versions VALUES (999, 'tomorrow', 999)")
    await connection.close()
    result = await here.check()
    assert len(result.problems) == 1
    assert "schema version 999, and this program knows only" in result.problems[0]


# --- the provider ------------------------------


async def test_a_key_that_the_provider_refuses(here: Installation) -> None:
    with DemoModelProcess(here.folder, api_key="right") as model:
        result = await here.check(OPENAI_BASE_URL=model.url, OPENAI_API_KEY="wrong")
        assert result.problems == [f"The provider at {model.url} does not accept the key."]
        result = await here.check(OPENAI_BASE_URL=model.url)
        assert result.problems == [f"The provider at {model.url} requires a key."]
        assert "OPENAI_API_KEY" in result.fix("requires a key")
        assert (await here.check(OPENAI_BASE_URL=model.url, OPENAI_API_KEY="right")).problems == []


class _Page(BaseHTTPRequestHandler):
    """Some other web server."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>Welcome</html>")

    def log_message(self, format: str, *args: object) -> None:
        pass


async def test_a_provider_that_is_away_or_is_none_or_lacks_the_model(here: Installation) -> None:
    base = here.environment["OPENAI_BASE_URL"]
    away = f"http://127.0.0.1:{free_port()}/v1"
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        other = f"http://127.0.0.1:{page.server_address[1]}"
        for url, problem in (
            (away, f"The provider cannot be reached at {away}: "),
            (base.removesuffix("/v1"), "does not list models as an OpenAI-compatible API does (status 404)."),
            (other, "does not list models as an OpenAI-compatible API does"),
        ):
            result = await here.check(OPENAI_BASE_URL=url)
            assert len(result.problems) == 1, result.problems
            assert problem in result.problems[0]
        page.shutdown()
    result = await here.check(MODEL="gpt-unheard-of")
    assert len(result.problems) == 1
    assert result.problems[0].startswith("MODEL is gpt-unheard-of, which the provider does not list. It has demo")


class _Provider(BaseHTTPRequestHandler):
    """A provider with the answers of a test, by method: status, content type and body."""

    answers: ClassVar[dict[str, tuple[int, str, str]]] = {}

    def do_GET(self) -> None:
        self._answer("GET" if self.path == "/v1/models" else "")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer("POST" if self.path == "/v1/chat/completions" else "")

    def _answer(self, method: str) -> None:
        status, kind, body = self.answers.get(method, (404, "text/plain", "404 page not found"))
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


_JSON = "application/json"
_EMPTY_CHAT = (400, _JSON, '{"error": {"message": "messages: required"}}')
_REGION = '{"error": {"code": "unsupported_country", "message": "Country, region, or territory not supported"}}'


async def _provider_findings(
    answers: dict[str, tuple[int, str, str]], model: str = "", key: str = "x"
) -> list[Finding]:
    handler = type("Handler", (_Provider,), {"answers": answers})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        target = targets.Target(openai_base_url=url, openai_api_key=key, model=model)
        report = await provider_check.check(target)
        server.shutdown()
    return report.findings


@pytest.mark.parametrize(
    "listing",
    [
        (404, "text/plain", "404 page not found"),
        (405, _JSON, '{"detail": "Method Not Allowed"}'),
        (501, "text/plain", ""),
        (500, "text/html", "<html>"),
        (429, _JSON, "{}"),
        (200, "text/html", "<html>no list</html>"),
        (200, _JSON, "null"),
        (200, _JSON, '{"data": null}'),
        (200, _JSON, '{"object": "list", "data": [{"id": "m"}, {"id": null}, 3]}'),
        (200, _JSON, '[{"name": "m"}]'),
        (200, _JSON, '{"models": ["m"]}'),
        (200, _JSON, '{"data": []}'),
    ],
)
@pytest.mark.parametrize("chat", [_EMPTY_CHAT, (422, "text/plain", "no"), (200, "text/event-stream", "data: [DONE]")])
async def test_a_provider_that_accepts_chats_may_have_an_odd_list_of_models(
    listing: tuple[int, str, str], chat: tuple[int, str, str]
) -> None:
    for model in ("", "m"):
        findings = await _provider_findings({"GET": listing, "POST": chat}, model)
        assert findings
        assert [finding for finding in findings if finding.level == "problem"] == []


async def test_an_unlisted_model_that_is_accepted_is_no_problem() -> None:
    listing = (200, _JSON, '{"data": [{"id": "llama3:latest"}]}')
    (_, finding) = await _provider_findings({"GET": listing, "POST": (200, _JSON, "{}")}, "llama3")
    assert (finding.level, finding.text) == (
        "ok",
        "MODEL is llama3, which the provider does not list, and accepts it all the same.",
    )


@pytest.mark.parametrize("where", ["GET", "POST"])
async def test_a_refusal_that_is_not_about_the_key_is_reported_in_the_providers_words(where: str) -> None:
    (finding,) = await _provider_findings({where: (403, _JSON, _REGION)})
    assert finding.level == "problem"
    assert "refuses this: Country, region, or territory not supported (status 403)." in finding.text
    assert "key" not in finding.text
    assert "The key itself may be valid." in finding.fix


@pytest.mark.parametrize(
    "answers",
    [{}, {"POST": (404, _JSON, '{"detail": "Not Found"}')}, {"POST": (200, "text/html", "<html>Welcome</html>")}],
)
async def test_what_neither_lists_models_nor_accepts_chats_is_no_provider(
    answers: dict[str, tuple[int, str, str]],
) -> None:
    (finding,) = await _provider_findings(answers)
    assert finding.level == "problem"
    assert "It does not accept chats either." in finding.text
    assert "/v1" in finding.fix


# --- a new installation ------------------------------


async def test_empty_servers_that_a_start_would_fill_are_not_broken(here: Installation, databases: Databases) -> None:
    with NatsServer(here.folder / "new") as new:
        result = await here.check(NATS_URL=new.url, DATABASE_URL=databases.empty())
        assert result.problems == []
        assert "parley up" in result.fix("There are no streams yet.")
        assert "parley migrate" in result.fix("The database is empty.")
        assert (await here.check(NATS_URL=new.url, DATABASE_URL="")).problems == []


def test_servers_are_not_mixed_with_those_of_a_stack_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state.write(
        tmp_path,
        state.State(
            pid=os.getpid(),
            url="",
            push_url="",
            nats_url="nats://own",
            database_url="postgresql://own",
            openai_base_url=None,
            ready=True,
            processes={},
        ),
    )
    for name in _settings():
        monkeypatch.delenv(name, raising=False)
    assert targets.find_target(tmp_path, {}).nats_url == "nats://own"
    monkeypatch.setenv("DATABASE_URL", "postgresql://other")
    found = targets.find_target(tmp_path, {})
    assert (found.nats_url, found.database_url, found.stack) == ("", "postgresql://other", None)


def _settings() -> tuple[str, ...]:
    return ("NATS_URL", "DATABASE_URL", "SECRET_KEY", "OPENAI_BASE_URL", "OPENAI_API_KEY", "MODEL")


# --- a stack that runs ------------------------------


@pytest.mark.timeout(240)
async def test_a_running_stack_is_sound_until_a_part_of_it_hangs(tmp_path: Path) -> None:
    async with RunningStack(tmp_path / "data") as stack:
        result = await run_doctor({}, stack.folder, {})
        assert result.problems == []
        for user in USERS:
            assert result.has("ok", f"The user {user.user} has all its permissions")
        assert result.has("ok", "llm-worker offers")
        # What it tries reaches no service.
        assert "decode" not in stack.log
        worker = stack.state.processes["llm-worker"].pid
        assert worker is not None
        pause(worker)
        try:
            result = await run_doctor({}, stack.folder, {})
        finally:
            os.kill(worker, signal.SIGCONT)
            assert f"llm-worker runs as process {worker} and does not respond." in result.problems
        assert "No llm-worker responds in time." in result.problems
