"""``parley doctor`` names what is wrong, on real servers."""

from __future__ import annotations

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

import asyncpg
import pytest
import pytest_asyncio
from nats.js.api import StreamConfig

from parley.contracts import streams
from parley.contracts.permissions import USERS
from parley.runtime.nats import authorization
from parley.runtime.nats.connect import connect
from parley.runtime.nats.provision import provision
from parley_cli.doctor import provider_check
from parley_cli.doctor import target as patients
from parley_cli.doctor.checks import examine
from parley_cli.doctor.report import Finding
from parley_cli.embedded.guard import guarded
from parley_cli.embedded.nats import NatsServer, nats_program
from parley_cli.embedded.ports import free_port
from parley_cli.stack import state
from tests.support.databases import Databases
from tests.support.demo_model import DemoModelProcess
from tests.support.pausing import pause
from tests.support.stack import RunningStack
from tests.support.waiting import wait_until

KEY = "k" * 48


@dataclass
class Examined:
    """What the command said."""

    code: int
    findings: list[dict[str, str]]

    @property
    def problems(self) -> list[str]:
        return [finding["text"] for finding in self.findings if finding["level"] == "problem"]

    def remedy(self, text: str) -> str:
        return next(finding["remedy"] for finding in self.findings if text in finding["text"])

    def said(self, level: str, text: str) -> bool:
        return any(finding["level"] == level and text in finding["text"] for finding in self.findings)


@dataclass
class Installation:
    """An installation as the environment describes it, with nothing wrong but what a test breaks."""

    folder: Path
    nats: NatsServer
    passwords: dict[str, str]
    environment: dict[str, str]
    ports: dict[str, int] = field(default_factory=lambda: {"--port": free_port(), "--push-port": free_port()})

    def url_of(self, user: str) -> str:
        return f"nats://{user}:{self.passwords[user]}@127.0.0.1:{self.nats.port}"

    def examined(self, **changed: str) -> Examined:
        """Run the command; an empty value leaves a setting out."""
        given = {name: value for name, value in (self.environment | changed).items() if value}
        ports = [word for name, port in self.ports.items() for word in (name, str(port))]
        return doctor(given, "--data", str(self.folder / "none"), *ports)


def doctor(environment: dict[str, str], *arguments: str) -> Examined:
    done = subprocess.run(
        [sys.executable, "-m", "parley_cli.main", "doctor", "--json", *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert not done.stderr, done.stderr
    return Examined(done.returncode, [json.loads(line) for line in done.stdout.splitlines()])


@pytest_asyncio.fixture
async def here(tmp_path: Path, databases: Databases, demo_model: str) -> AsyncIterator[Installation]:
    """A sound installation; its servers end with the test."""
    passwords = authorization.random_passwords()
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


def test_nothing_is_wrong_with_a_sound_installation(here: Installation) -> None:
    examined = here.examined()
    assert examined.problems == []
    assert examined.code == 0
    assert examined.said("ok", "reaches the disk before it is acknowledged")
    assert examined.said("ok", "The user operator may do its part")
    assert examined.said("ok", "streams and 4 consumers are as they are declared")
    assert examined.said("ok", "The schema is the one")
    # Looking leaves nothing behind, and every other user may do its part, too.
    for user in USERS:
        seen = here.examined(NATS_URL=here.url_of(user.user))
        assert seen.problems == [], user.user
        assert seen.said("ok", f"The user {user.user} may do its part")
    assert not here.examined().said("note", "dead letters")


# --- settings ------------------------------


def test_settings_of_a_service_that_runs_beside_it_are_not_its_own(here: Installation) -> None:
    examined = here.examined(LOG_FORMAT="json", LOG_LEVEL="DEBUG", HEALTH_PORT="9000")
    assert examined.code == 0


def test_a_short_key_and_values_that_cannot_be(here: Installation) -> None:
    examined = here.examined(SECRET_KEY="short", PROMPT_BATCH="many", NATS_URL="http://nowhere")
    assert examined.code == 1
    assert "SECRET_KEY has 5 bytes, and needs 32 or more." in examined.problems
    assert "secrets.token_urlsafe" in examined.remedy("SECRET_KEY")
    assert any(problem.startswith("PROMPT_BATCH: ") and "chat-store" in problem for problem in examined.problems)
    assert any(problem.startswith("NATS_URL: begins with http://") for problem in examined.problems)


def test_a_port_that_another_program_has(here: Installation) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", here.ports["--push-port"]))
        other.listen()
        examined = here.examined()
    assert examined.problems == [f"Port {here.ports['--push-port']}, for the websocket, is taken by another program."]
    assert "parley up --push-port N" in examined.remedy("is taken")


# --- NATS ------------------------------


def test_nats_that_is_away(here: Installation) -> None:
    here.nats.stop()
    examined = here.examined()
    assert len(examined.problems) == 1
    assert examined.problems[0].startswith(f"NATS does not answer at 127.0.0.1:{here.nats.port}: ")
    assert "Connect" in examined.problems[0]


def test_a_password_that_nats_refuses(here: Installation) -> None:
    examined = here.examined(NATS_URL=f"nats://operator:wrong@127.0.0.1:{here.nats.port}")
    assert examined.problems == [f"NATS at 127.0.0.1:{here.nats.port} refuses the user or the password (operator)."]


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


def test_nats_without_jetstream_and_with_small_messages(here: Installation, bare_nats: str) -> None:
    examined = here.examined(NATS_URL=bare_nats)
    assert examined.problems == [
        "Messages may have 65536 bytes only, and answers need 1 MiB.",
        "JetStream is off.",
    ]
    assert examined.said("note", "none of Parley's users")


def test_streams_that_nobody_made(here: Installation) -> None:
    with NatsServer(here.folder / "new") as new:
        examined = here.examined(NATS_URL=new.url)
    assert "The stream CHAT does not exist." in examined.problems
    assert examined.remedy("The stream CHAT") == "Run `parley migrate`."


async def test_a_stream_and_a_consumer_that_were_changed(here: Installation) -> None:
    nc = await connect(here.nats.url, name="test")
    js = nc.jetstream()
    config = (await js.stream_info("CHAT")).config
    await js.update_stream(StreamConfig.from_response({**config.as_dict(), "max_age": 60 * 10**9 * 20}))
    await js.delete_consumer("CHAT", streams.LLM_WORKER_REQUESTS.name)
    await nc.close()
    examined = here.examined()
    assert any("stream CHAT exists with other settings: max_age is 1200" in problem for problem in examined.problems)
    assert "The consumer llm-worker-requests of CHAT does not exist." in examined.problems


def test_users_that_lack_permissions(here: Installation) -> None:
    config = here.folder / "nats" / "nats-server.conf"
    text = config.read_text()
    for line in ('          "rpc.store.*"\n', '          "chat.*.prompt.submitted"\n'):
        assert line in text
        text = text.replace(line, '          "nothing.at.all"\n', 1)
    config.write_text(text)
    here.nats.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: (
            here.examined(NATS_URL=here.url_of("gateway")).problems
            == ["The user gateway may not publish to chat.*.prompt.submitted."]
        ),
        deadline=40,
        what="the gateway's permissions being missed",
    )
    examined = here.examined(NATS_URL=here.url_of("chat-store"))
    assert examined.problems == ["The user chat-store may not subscribe to rpc.store.*."]
    assert "deploy/nats" in examined.remedy("chat-store may not")


def test_writes_that_are_acknowledged_before_they_are_on_the_disk(here: Installation) -> None:
    here.nats.stop()
    config = here.folder / "nats" / "nats-server.conf"
    text = config.read_text().replace(', "sync_interval": "always"', "")
    process = _serve(here.folder, text)
    try:
        wait_until(lambda: _listens(here.nats.port), what="nats-server")
        examined = here.examined()
    finally:
        process.kill()
        process.wait()
    assert len(examined.problems) == 1
    assert "before they reach the disk" in examined.problems[0]
    assert "sync_interval: always" in examined.remedy("reach the disk")


async def test_messages_that_nobody_takes(here: Installation) -> None:
    nc = await connect(here.url_of("gateway"), name="test")
    await nc.jetstream().publish("chat.c.prompt.submitted", b"{}")
    await nc.close()
    examined = here.examined()
    assert examined.problems == ["1 messages wait for chat-store-prompts, and nobody takes them."]


async def test_a_clock_that_is_wrong(here: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in here.environment.items():
        monkeypatch.setenv(name, value)
    patient = patients.find(here.folder / "none", {"page": free_port(), "websocket": free_port()})
    findings = await examine(patient, clock=lambda: time.time() - 90)
    problems = [finding.text for finding in findings if finding.level == "problem"]
    assert problems == [
        "The clock of NATS is 90 s ahead of the one here.",
        "The clock of Postgres is 90 s ahead of the one here.",
    ]


# --- Postgres ------------------------------


def test_postgres_that_is_away_or_refuses(here: Installation) -> None:
    good = here.environment["DATABASE_URL"]
    port = free_port()
    for changed, problem in (
        (f"postgresql://parley:test@127.0.0.1:{port}/x", f"Postgres does not answer at 127.0.0.1:{port}/x: "),
        (good.replace(":test@", ":wrong@"), "refuses the role or the password: password authentication failed"),
        (f"{good}_not", "has no such database: "),
    ):
        examined = here.examined(DATABASE_URL=changed)
        assert len(examined.problems) == 1
        assert problem in examined.problems[0]
        assert ":test@" not in json.dumps(examined.findings)


async def test_the_version_of_postgres_is_what_it_says_itself(here: Installation) -> None:
    connection = await asyncpg.connect(here.environment["DATABASE_URL"])
    try:
        said = str(await connection.fetchval("SHOW server_version")).split()[0]
    finally:
        await connection.close()
    assert re.fullmatch(r"\d+\.\d+|\d+(devel|beta\d+|rc\d+)", said)
    assert here.examined().said("ok", f"answers, version {said}.")


async def test_a_schema_that_is_missing_too_new_or_out_of_reach(here: Installation, databases: Databases) -> None:
    examined = here.examined(DATABASE_URL=databases.empty())
    assert any("schema version 0" in problem for problem in examined.problems)

    connection = await asyncpg.connect(here.environment["DATABASE_URL"])
    await connection.execute("DROP ROLE IF EXISTS nobody_in_particular")
    await connection.execute("CREATE ROLE nobody_in_particular LOGIN PASSWORD 'test'")
    await connection.execute("GRANT USAGE ON SCHEMA public TO nobody_in_particular")
    await connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO nobody_in_particular")
    examined = here.examined(
        DATABASE_URL=here.environment["DATABASE_URL"].replace("parley:test@", "nobody_in_particular:test@")
    )
    assert len(examined.problems) == 1
    assert examined.problems[0].startswith("The role nobody_in_particular lacks rights: chats (DELETE, INSERT, UPDATE)")

    await connection.execute("INSERT INTO schema_versions VALUES (999, 'tomorrow', 999)")
    await connection.close()
    examined = here.examined()
    assert len(examined.problems) == 1
    assert "schema version 999, and this program knows only" in examined.problems[0]


# --- the provider ------------------------------


def test_a_key_that_the_provider_refuses(here: Installation) -> None:
    with DemoModelProcess(here.folder, api_key="right") as model:
        examined = here.examined(OPENAI_BASE_URL=model.url, OPENAI_API_KEY="wrong")
        assert examined.problems == [f"The provider at {model.url} does not accept the key."]
        examined = here.examined(OPENAI_BASE_URL=model.url)
        assert examined.problems == [f"The provider at {model.url} wants a key."]
        assert "OPENAI_API_KEY" in examined.remedy("wants a key")
        assert here.examined(OPENAI_BASE_URL=model.url, OPENAI_API_KEY="right").code == 0


class _Page(BaseHTTPRequestHandler):
    """Some other web server."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>Welcome</html>")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_provider_that_is_away_or_is_none_or_lacks_the_model(here: Installation) -> None:
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
            examined = here.examined(OPENAI_BASE_URL=url)
            assert len(examined.problems) == 1, examined.problems
            assert problem in examined.problems[0]
        page.shutdown()
    examined = here.examined(MODEL="gpt-unheard-of")
    assert len(examined.problems) == 1
    assert examined.problems[0].startswith("MODEL is gpt-unheard-of, which the provider does not list. It has demo")


class _Provider(BaseHTTPRequestHandler):
    """A provider that is as a test says: its answers by method, as status, type of content and body."""

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


async def _examined_provider(
    answers: dict[str, tuple[int, str, str]], model: str = "", key: str = "x"
) -> list[Finding]:
    handler = type("Handler", (_Provider,), {"answers": answers})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        target = patients.Patient(
            nats_url="",
            database_url="",
            secret_key="",
            openai_base_url=f"http://127.0.0.1:{server.server_address[1]}/v1",
            openai_api_key=key,
            model=model,
            nats_monitor_url="",
            ports={},
            stack=None,
            secrets=None,
        )
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
async def test_an_odd_list_of_models_is_no_fault_of_a_provider_that_takes_chats(
    listing: tuple[int, str, str], chat: tuple[int, str, str]
) -> None:
    for model in ("", "m"):
        findings = await _examined_provider({"GET": listing, "POST": chat}, model)
        assert findings
        assert [finding for finding in findings if finding.level == "problem"] == []


async def test_a_model_that_is_not_listed_and_taken_all_the_same_is_no_problem() -> None:
    listing = (200, _JSON, '{"data": [{"id": "llama3:latest"}]}')
    (_, finding) = await _examined_provider({"GET": listing, "POST": (200, _JSON, "{}")}, "llama3")
    assert (finding.level, finding.text) == (
        "ok",
        "MODEL is llama3, which the provider does not list, and takes all the same.",
    )


@pytest.mark.parametrize("where", ["GET", "POST"])
async def test_a_refusal_that_is_not_about_the_key_is_told_in_the_providers_words(where: str) -> None:
    (finding,) = await _examined_provider({where: (403, _JSON, _REGION)})
    assert finding.level == "problem"
    assert "refuses this: Country, region, or territory not supported (status 403)." in finding.text
    assert "key" not in finding.text
    assert "The key itself may be good." in finding.remedy


@pytest.mark.parametrize(
    "answers",
    [{}, {"POST": (404, _JSON, '{"detail": "Not Found"}')}, {"POST": (200, "text/html", "<html>Welcome</html>")}],
)
async def test_what_neither_lists_models_nor_takes_chats_is_no_provider(
    answers: dict[str, tuple[int, str, str]],
) -> None:
    (finding,) = await _examined_provider(answers)
    assert finding.level == "problem"
    assert "It takes no chats either." in finding.text
    assert "/v1" in finding.remedy


# --- a new installation ------------------------------


def test_empty_servers_that_a_start_would_fill_are_not_broken(here: Installation, databases: Databases) -> None:
    with NatsServer(here.folder / "new") as new:
        examined = here.examined(NATS_URL=new.url, DATABASE_URL=databases.empty())
        assert examined.problems == []
        assert examined.code == 0
        assert "parley up" in examined.remedy("There are no streams yet.")
        assert "parley migrate" in examined.remedy("The database is empty.")
        assert here.examined(NATS_URL=new.url, DATABASE_URL="").problems == []


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
    assert patients.find(tmp_path, {}).nats_url == "nats://own"
    monkeypatch.setenv("DATABASE_URL", "postgresql://other")
    found = patients.find(tmp_path, {})
    assert (found.nats_url, found.database_url, found.stack) == ("", "postgresql://other", None)


def _settings() -> tuple[str, ...]:
    return ("NATS_URL", "DATABASE_URL", "SECRET_KEY", "OPENAI_BASE_URL", "OPENAI_API_KEY", "MODEL")


# --- a stack that runs ------------------------------


@pytest.mark.timeout(240)
def test_a_running_stack_is_sound_until_a_part_of_it_hangs(tmp_path: Path) -> None:
    with RunningStack(tmp_path / "data") as stack:
        data = ("--data", str(stack.folder))
        examined = doctor({}, *data)
        assert examined.problems == []
        assert examined.code == 0
        for user in USERS:
            assert examined.said("ok", f"The user {user.user} may do its part")
        assert examined.said("ok", "llm-worker offers")
        worker = stack.state.processes["llm-worker"].pid
        assert worker is not None
        pause(worker)
        try:
            examined = doctor({}, *data)
        finally:
            os.kill(worker, signal.SIGCONT)
        assert examined.code == 1
        assert f"llm-worker runs as process {worker} and does not answer." in examined.problems
        assert "No llm-worker answers in time." in examined.problems
