"""What people do with `docker compose`: each test begins with the installation running and nothing set."""

import asyncio
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from parley_cli.demo_model.answers import numbered
from parley_cli.embedded.ports import free_port
from tests.compose.figures import FIGURES
from tests.compose.installation import SERVICES, Installation
from tests.compose.visitor import Visitor
from tests.support.waiting import eventually, wait_until

pytestmark = pytest.mark.timeout(900)

SOCKETS = 2000
ALL = {*SERVICES, "nats", "postgres", "proxy", "demo-model"}


@pytest.fixture(autouse=True)
def _running_and_nothing_set(installation: Installation) -> Iterator[None]:
    if not installation.is_running:
        installation.up()
    yield
    if installation.files or set(installation.settings) - {"COMPOSE_PROJECT_NAME", "PARLEY_PORT"}:
        installation.files = []
        installation.configure()
        installation.up()


# --- served -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["localhost", "chat.example.com"])
async def test_page_chat_socket_and_stream_are_served_as_any_host(installation: Installation, name: str) -> None:
    async with Visitor(installation.port, name) as visitor:
        page = await visitor.http.get("/", headers=visitor.headers)
        assert page.status_code == 200
        assert "<title>" in page.text
        chat = await visitor.new_chat("demo")
        async with visitor.socket() as socket:
            await visitor.authenticate(socket)
            await socket.send(msgspec.json.encode({"type": "watch", "chat_id": chat, "after": None}).decode())
            joined = asyncio.Event()
            streaming = asyncio.create_task(_streamed(visitor, chat, joined))
            # Who joins after the answer gets it in one snapshot.
            async with asyncio.timeout(60):
                await joined.wait()
            message = await visitor.send(chat, "What is a cursor?")
            text = ""
            async with asyncio.timeout(60):
                async for data in socket:
                    frame = msgspec.json.decode(data)
                    text += frame.get("text", "") if frame["type"] == "delta" else ""
                    stored = frame.get("message", {})
                    if stored.get("parent_id") == message and stored["status"] == "complete":
                        break
        answer = await visitor.answer(chat, message)
        assert "cursor" in answer["content"]
        assert "delta" in await streaming


async def _streamed(visitor: Visitor, chat: str, joined: asyncio.Event) -> str:
    """Return what the events say until the answer's first text; ``joined`` is set by the first event."""
    said = ""
    async with (
        asyncio.timeout(60),
        visitor.http.stream("GET", f"/v1/chats/{chat}/stream", headers=visitor.headers) as events,
    ):
        async for line in events.aiter_lines():
            said += line
            if "snapshot" in line:
                joined.set()
            if "delta" in line:
                break
    return said


async def test_a_page_of_another_site_opens_no_session_and_no_socket(installation: Installation) -> None:
    with pytest.raises(AssertionError, match=r"403 .*cross_origin"):
        await Visitor(installation.port, page="https://elsewhere.example").__aenter__()
    async with Visitor(installation.port) as visitor:
        visitor.origin = "https://elsewhere.example"
        with pytest.raises(InvalidStatus) as refused:
            async with visitor.socket():
                pass
    assert refused.value.response.status_code == 403


# --- started again ----------------------------------------------------------------------------------------------------


async def remembered(installation: Installation) -> tuple[str, str, str]:
    """Ask something; return the visitor's token, the chat and the answer."""
    async with Visitor(installation.port) as visitor:
        chat = await visitor.new_chat()
        answer = await visitor.answer(chat, await visitor.send(chat, "Remember this."))
        return visitor.token, chat, answer["content"]


async def still_there(installation: Installation, before: tuple[str, str, str]) -> None:
    """Check that the same session sees the same answer, and gets another."""
    token, chat, content = before
    async with Visitor(installation.port, token=token) as visitor:
        assert content in [message["content"] for message in await visitor.messages(chat)]
        await visitor.answer(chat, await visitor.send(chat, "And now?"))


async def test_ctrl_c_ends_it_and_up_again_goes_on(installation: Installation) -> None:
    before = await remembered(installation)
    for _ in range(2):
        attached = await asyncio.to_thread(_up_attached, installation)
        await still_there(installation, before)
        attached.send_signal(signal.SIGINT)
        # Its exit status says nothing: when all is stopped, compose 2.26 may still panic ("close of closed channel").
        await asyncio.to_thread(attached.wait, 120)
        states = {each["Service"]: (each["State"], each["ExitCode"]) for each in installation.containers()}
        assert set(states.values()) == {("exited", 0)}, states
    await asyncio.to_thread(installation.up)
    await still_there(installation, before)


def _up_attached(installation: Installation) -> "subprocess.Popen[bytes]":
    attached = subprocess.Popen(
        installation.compose_command("up"),
        cwd=installation.folder,
        env=installation.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # From a running installation it attaches; from a stopped one it starts it.
    wait_until(lambda: {"running"} <= {each["State"] for each in installation.containers()}, deadline=120, every=0.3)
    installation.wait_ready()
    return attached


async def test_down_and_up_keep_what_people_said(installation: Installation) -> None:
    before = await remembered(installation)
    installation.compose("down")
    assert installation.containers() == []
    began = time.monotonic()
    await asyncio.to_thread(installation.up)
    FIGURES["start with data until the page answers, seconds"] = f"{time.monotonic() - began:.1f}"
    await still_there(installation, before)


async def test_up_again_with_nothing_changed_restarts_nothing(installation: Installation) -> None:
    before = installation.started()
    await asyncio.to_thread(installation.up, "--build")
    assert installation.changed(before) == set()


# --- changed ----------------------------------------------------------------------------------------------------------

MODEL_READERS = {"gateway", "llm-worker"}
READERS = {
    "OPENAI_API_KEY": ("sk-some", MODEL_READERS),
    "OPENAI_BASE_URL": ("http://host.docker.internal:11434/v1", MODEL_READERS),
    "MODEL": ("demo-fast", MODEL_READERS),
    "ANY_MODEL": ("true", {"llm-worker"}),
    "MCP_SERVERS": ('[{"name": "docs", "url": "http://docs.example/mcp"}]', {"llm-worker"}),
    "MCP_ROUNDS": ("3", {"llm-worker"}),
    "COMPOSE_PROFILES": ("ollama", MODEL_READERS),
    "OLLAMA_MODEL": ("some:small", MODEL_READERS),
    "PARLEY_ADDRESS": ("127.0.0.2", {"gateway", "proxy"}),
    "PARLEY_PORT": ("18765", {"proxy"}),
    "ALLOWED_ORIGINS": ("https://other.example", {"gateway", "push"}),
    "TRUSTED_PROXIES": ("172.16.0.0/12", {"gateway", "push"}),
    "AUTH_MODES": ("api-key", {"gateway"}),
    "OIDC_ISSUER": ("https://id.example.com", {"gateway"}),
    "OIDC_CLIENT_ID": ("parley", {"gateway"}),
    "OIDC_CLIENT_SECRET": ("secret-of-the-client", {"gateway"}),
    "OIDC_ADMIN_GROUP": ("admins", {"gateway"}),
    "SECRET_KEY": ("k" * 40, {"gateway", "push"}),
    "SECRET_KEYS": (f"{'n' * 40},{'k' * 40}", {"gateway", "push"}),
    "MAX_GENERATIONS": ("7", {"llm-worker"}),
    "DATABASE_POOL_SIZE": ("5", {"chat-store"}),
    "SHUTDOWN_GRACE": ("30", {"llm-worker"}),
    "LOG_LEVEL": ("DEBUG", {*SERVICES, "migrate"}),
    "LOG_FORMAT": ("console", {*SERVICES, "migrate"}),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("http://otel-collector:4318", set(SERVICES)),
}


def test_a_setting_is_compared_for_those_who_read_it(installation: Installation) -> None:
    nothing = installation.hashes()
    for name, (value, readers) in READERS.items():
        installation.configure(**{name: value})
        now = installation.hashes()
        assert {each for each in nothing if now[each] != nothing[each]} == readers, name


async def test_settings_arrive_and_restart_their_readers_alone(installation: Installation) -> None:
    arriving = {
        "MODEL": "demo-echo",
        "MAX_GENERATIONS": "7",
        "SHUTDOWN_GRACE": "5",
        "ALLOWED_ORIGINS": "https://other.example",
        "AUTH_MODES": "api-key",
        "DATABASE_POOL_SIZE": "5",
        "LOG_FORMAT": "console",
        "LOG_LEVEL": "DEBUG",
    }
    async with Visitor(installation.port, "chat.example.com") as visitor:
        token = visitor.token
    before = installation.started()
    installation.configure(**arriving)
    await asyncio.to_thread(installation.up)
    assert installation.changed(before) == set(SERVICES)
    for name, value in arriving.items():
        for reader in READERS[name][1] - {"migrate"}:
            assert installation.variables(reader)[name] == value, f"{name} of {reader}"
    assert installation.config()["default_model"] == "demo-echo"
    async with httpx.AsyncClient(base_url=installation.url, trust_env=False) as http:
        assert (await http.post("/v1/session", json={})).status_code == 403
    # The other page may, and the own one still does.
    for page in ("https://other.example", None):
        visitor = Visitor(installation.port, "chat.example.com", token=token, page=page)
        async with visitor, visitor.socket() as socket:
            await visitor.authenticate(socket)


@pytest.fixture
def model_on_docker(installation: Installation) -> Iterator[int]:
    """The port of a model server on this machine, at the address that containers know as host.docker.internal."""
    network = ["docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]
    address, port = installation.run(*network).strip(), free_port()
    if address not in subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split():
        pytest.skip("the engine is on another machine")
    command = [sys.executable, "-m", "parley_cli.demo_model", "--host", address, "--port", str(port)]
    model = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://{address}:{port}/v1/models"
        wait_until(lambda: _answers(url), deadline=30, what=url)
        yield port
    finally:
        model.kill()
        model.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.HTTPError:
        return False


async def test_another_model_answers_once_it_is_set(installation: Installation, model_on_docker: int) -> None:
    before = installation.started()
    installation.configure(OPENAI_BASE_URL=f"http://host.docker.internal:{model_on_docker}/v1", MODEL="demo-echo")
    await asyncio.to_thread(installation.up)
    assert installation.changed(before) == MODEL_READERS
    assert installation.config()["demo"] is False
    async with Visitor(installation.port) as visitor:
        chat = await visitor.new_chat("demo-echo")
        answer = await visitor.answer(chat, await visitor.send(chat, "Who is there?"))
    assert "Who is there?" in answer["content"]


async def test_the_profile_ollama_reaches_the_page_and_the_worker(installation: Installation) -> None:
    # The model itself is another's image, which is not needed to see where answers are asked for.
    before = installation.started()
    installation.configure(COMPOSE_PROFILES="ollama", OLLAMA_MODEL="some:small")
    installation.compose("up", "--detach", "gateway", "llm-worker")
    await eventually(lambda: installation.config()["demo"] is False, deadline=60, every=0.3)
    assert installation.variables("llm-worker")["OPENAI_BASE_URL"] == "http://ollama:11434/v1"
    assert installation.variables("llm-worker")["MODEL"] == "some:small"
    assert installation.changed(before) == MODEL_READERS


async def test_a_bad_key_is_named_and_goes_with_its_line(installation: Installation) -> None:
    before = await remembered(installation)
    installation.configure(SECRET_KEY="too short")
    installation.up(ready=False)
    wait_until(
        lambda: "SECRET_KEY: String should have at least 32 characters" in installation.compose("logs", "gateway"),
        deadline=60,
        every=0.3,
    )
    installation.configure()
    await asyncio.to_thread(installation.up)
    await still_there(installation, before)


def test_who_publishes_it_to_others_says_how_they_sign_in(installation: Installation) -> None:
    installation.configure(PARLEY_ADDRESS="0.0.0.0")
    installation.up(ready=False)
    wait_until(
        lambda: "gateway: AUTH_MODES must be set" in installation.compose("logs", "gateway"), deadline=60, every=0.3
    )
    installation.configure(PARLEY_ADDRESS="0.0.0.0", AUTH_MODES="guest")
    installation.up()
    assert installation.config()["auth"]["guest"] is True


async def test_the_published_port_moves(installation: Installation) -> None:
    old, installation.port = installation.url, free_port()
    before = installation.started()
    installation.configure()
    await asyncio.to_thread(installation.up)
    assert installation.changed(before) == {"proxy"}
    assert installation.config()["demo"] is True
    assert not _answers(old)


async def test_prometheus_sees_every_service_and_has_its_rules(installation: Installation) -> None:
    # What else the profile has are images of others.
    port, before = free_port(), installation.started()
    installation.configure(PROMETHEUS_PORT=str(port))
    try:
        installation.compose("--profile", "observability", "up", "--detach", "prometheus")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False) as http:

            async def seen() -> bool:
                try:
                    answer = (await http.get("query", params={"query": "up == 1"})).json()
                except (httpx.HTTPError, ValueError):
                    return False
                return {each["metric"]["job"] for each in answer["data"]["result"]} == {f"parley-{s}" for s in SERVICES}

            await eventually(seen, deadline=90, every=0.5, what="scrapes of all services")
            rules = (await http.get("rules")).json()["data"]["groups"]
        assert all(rule["health"] != "err" for group in rules for rule in group["rules"])
        assert {rule["name"] for group in rules for rule in group["rules"]} >= {"ParleyPromptsRefused"}
        assert installation.changed(before) == {"prometheus"}
    finally:
        installation.compose("--profile", "observability", "rm", "--force", "--stop", "prometheus")


# --- scaled, killed ---------------------------------------------------------------------------------------------------


async def test_two_of_each_serve_and_one_worker_takes_over_from_the_other(installation: Installation) -> None:
    scale = [word for name in SERVICES for word in ("--scale", f"{name}=2")]
    try:
        await asyncio.to_thread(installation.up, *scale)
        assert all(len(installation.ids(name)) == 2 for name in SERVICES)
        async with Visitor(installation.port) as visitor:
            for _ in range(4):
                chat = await visitor.new_chat()
                await visitor.answer(chat, await visitor.send(chat, "Who of you answers?"))
            chat = await visitor.new_chat("demo-rate-20x400")
            message = await visitor.send(chat, "Tell me something long.")
            owner = await eventually(lambda: _owner(installation), deadline=30, every=0.1, what="a worker that answers")
            installation.run("docker", "kill", owner)
            began = time.monotonic()
            other = next(each for each in installation.ids("llm-worker") if each != owner)
            await eventually(lambda: _answering(installation, other), deadline=60, every=0.1, what="a takeover")
            FIGURES["takeover after a worker was killed, seconds"] = f"{time.monotonic() - began:.1f}"
            await visitor.answer(chat, message)
        installation.run("docker", "start", owner)
    finally:
        await asyncio.to_thread(installation.up)
    assert all(len(installation.ids(name)) == 1 for name in SERVICES)


def _answering(installation: Installation, worker: str) -> bool:
    probe = (
        "import urllib.request as u;"
        "t = u.urlopen('http://127.0.0.1:9000/metrics', timeout=2).read().decode();"
        "print([line.split()[1] for line in t.splitlines() if line.startswith('parley_llm_worker_running_answers ')])"
    )
    return "1.0" in installation.run("docker", "exec", worker, "python", "-c", probe, check=False)


def _owner(installation: Installation) -> str:
    """Return the worker that makes an answer; empty when none does."""
    return next((each for each in installation.ids("llm-worker") if _answering(installation, each)), "")


@pytest.mark.parametrize(
    "part", ["gateway", "push", "chat-store", "llm-worker", "nats", "postgres", "proxy", "demo-model"]
)
async def test_an_answer_survives_the_death_of_any_part(installation: Installation, part: str) -> None:
    async with Visitor(installation.port) as visitor:
        chat, prompt = await visitor.new_chat("demo-rate-40x300"), "Go on whatever happens."
        message = await visitor.send(chat, prompt)
        await eventually(lambda: _owner(installation), deadline=30, every=0.1, what="a worker that answers")
        container = installation.ids(part)[0]
        installation.run("docker", "kill", container)
        # An engine restarts a container that crashed, but not one that it was asked to kill.
        installation.run("docker", "start", container)
        answer = await visitor.answer(chat, message)
        assert answer["content"] == "".join(numbered(300, prompt))
        assert [m["status"] for m in await visitor.messages(chat)] == ["sent", "complete"]
    await asyncio.to_thread(installation.wait_ready)


async def test_a_service_that_is_stopped_while_it_starts_ends_at_once(installation: Installation) -> None:
    ids = [each for name in SERVICES for each in installation.ids(name)]
    installation.run("docker", "stop", "--time", "60", *ids)
    installation.run("docker", "start", *ids)
    # Before it has its child, a container's init may miss the signal, and Docker waits for its timeout.
    wait_until(lambda: all(installation.processes(each) > 1 for each in ids), deadline=60)
    began = time.monotonic()
    installation.run("docker", "stop", "--time", "60", *ids)
    seconds = time.monotonic() - began
    states = {each["Service"]: each["ExitCode"] for each in installation.containers() if each["ID"] in ids}
    assert seconds < 45, states
    await asyncio.to_thread(installation.up)


# --- upgraded ---------------------------------------------------------------------------------------------------------


async def test_an_upgrade_restarts_what_changed_and_nothing_else(installation: Installation) -> None:
    before = await remembered(installation)
    started = installation.started()
    proxy = (installation.folder / "deploy/proxy/nginx.conf").read_text()
    nats = (installation.folder / "deploy/nats/nats-server.conf").read_text()
    push = (installation.folder / "services/push/src/push/__init__.py").read_text()
    changes = {
        "deploy/proxy/nginx.conf": proxy.replace("listen 8080;", "listen 8080;\n    add_header X-Proxy new always;"),
        "deploy/nats/nats-server.conf": nats.replace("server_name: parley", "server_name: parley_new"),
        "services/push/src/push/__init__.py": f"{push}\nNEW = True\n",
    }
    try:
        installation.write(changes)
        await asyncio.to_thread(installation.up, "--build")
        assert installation.changed(started) == {"proxy", "nats", "push"}
        async with Visitor(installation.port) as visitor:
            assert (await visitor.http.get("/v1/config")).headers["X-Proxy"] == "new"
        varz = installation.compose("exec", "--no-TTY", "nats", "wget", "-q", "-O", "-", "http://127.0.0.1:8222/varz")
        assert '"server_name": "parley_new"' in varz
        installation.compose("exec", "--no-TTY", "push", "python", "-c", "from push import NEW")
        await still_there(installation, before)
    finally:
        installation.run("git", "checkout", "--quiet", ".")
    await asyncio.to_thread(installation.up, "--build")


# --- many sockets -----------------------------------------------------------------------------------------------------

LIMITS = """\
services:
  proxy: &limits
    ulimits: { nofile: { soft: 1024, hard: HARD } }
  push: *limits
  gateway: *limits
"""


async def test_two_thousand_sockets_at_a_soft_limit_of_1024(installation: Installation) -> None:
    hard = installation.compose("exec", "--no-TTY", "proxy", "sh", "-c", "ulimit -Hn").strip()
    if hard.isdigit() and int(hard) < 2 * SOCKETS + 100:
        pytest.skip(f"this engine gives a container {hard} open files at most")
    installation.write({"limits.yml": LIMITS.replace("HARD", hard)})
    installation.files = ["docker-compose.yml", "limits.yml"]
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65536) if most > 0 else 65536, most))
    try:
        await asyncio.to_thread(installation.up)
        began = time.monotonic()
        async with asyncio.timeout(300):
            assert await _open_sockets(installation.port) == SOCKETS
        FIGURES[f"{SOCKETS} sockets authenticated, seconds"] = f"{time.monotonic() - began:.0f}"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))


async def _open_sockets(port: int) -> int:
    """Open sockets of people with 40 tabs each, all at the same time; return how many were let in."""
    people = [Visitor(port) for _ in range(SOCKETS // 40)]
    sockets: list[ClientConnection] = []
    slots = asyncio.Semaphore(50)

    async def tab(visitor: Visitor) -> None:
        async with slots:
            socket = await visitor.socket()
            sockets.append(socket)
            await visitor.authenticate(socket)

    try:
        async with asyncio.TaskGroup() as group:
            for visitor in people:
                await visitor.__aenter__()
                for _ in range(40):
                    group.create_task(tab(visitor))
        return sum(socket.close_code is None for socket in sockets)
    finally:
        for socket in sockets:
            socket.transport.abort()
        for visitor in people:
            await visitor.http.aclose()


# --- the operator -----------------------------------------------------------------------------------------------------


def operate(installation: Installation, *arguments: str) -> str:
    backup = installation.folder / "backup"
    if not backup.exists():
        installation.run("install", "--directory", "--mode", "1777", "backup")
    return installation.compose("run", "--rm", "--no-TTY", "--volume", f"{backup}:/backup", "operator", *arguments)


async def test_a_backup_is_restored_as_documented(installation: Installation) -> None:
    before = await remembered(installation)
    assert "Backed up" in operate(installation, "backup", "/backup/parley.backup")
    assert "backup" not in installation.run("git", "status", "--porcelain")
    async with Visitor(installation.port, token=before[0]) as visitor:
        lost = await visitor.send(before[1], "This came after the backup.")
        await visitor.answer(before[1], lost)
    installation.compose("stop", "gateway", "push", "llm-worker", "chat-store")
    assert "Restored" in operate(installation, "restore", "--force", "/backup/parley.backup")
    await asyncio.to_thread(installation.up)
    async with Visitor(installation.port, token=before[0]) as visitor:
        assert lost not in [message["id"] for message in await visitor.messages(before[1])]
    await still_there(installation, before)


async def test_a_program_gets_a_user_and_a_key_from_the_operator(installation: Installation) -> None:
    (user,) = re.findall(r"^[0-9a-f-]{36}$", operate(installation, "users", "create", "nightly report"), re.M)
    said = operate(installation, "keys", "create", user, "--name", "report", "--scope", "openai")
    (key,) = re.findall(r"^pk_\S+$", said, re.M)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=installation.url, headers=headers, trust_env=False, timeout=60) as http:
        body = {"model": "demo-fast", "messages": [{"role": "user", "content": "Good evening"}]}
        answer = await http.post("/openai/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        # A conversation with images is larger than what nginx reads by default.
        body["messages"][0]["content"] = "x" * (3 * 1024 * 1024)  # type: ignore[index]
        refused = await http.post("/openai/v1/chat/completions", json=body)
    assert refused.status_code == 413
    assert refused.json()["error"]["type"] == "invalid_request_error"
    assert user in operate(installation, "usage")


CLOCKS = ["--service=gateway:8000", "--service=chat-store:9000", "--service=llm-worker:9000", "--service=push:9000"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["doctor"], "Nothing is wrong."),
        (["doctor", *CLOCKS], "The clocks of 4 services agree"),
        (["dead-letters", "list"], ""),
        (["users", "list"], "guest"),
        (["keys", "list"], ""),
        (["usage"], ""),
        (["--help"], "demo-model"),
    ],
)
def test_the_operators_commands_work(installation: Installation, arguments: list[str], said: str) -> None:
    assert said in operate(installation, *arguments)
