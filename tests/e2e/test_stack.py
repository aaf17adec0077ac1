"""``parley up``: starting, restarting, ending, and what it says when it cannot."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from parley.contracts.access import permissions
from parley_cli.embedded.nats import NatsServer
from parley_cli.embedded.postgres import PostgresServer
from parley_cli.stack.state import State
from tests.support.demo_model import DemoModelProcess
from tests.support.stack import RunningStack
from tests.support.waiting import eventually, wait_until


def _family(stack: RunningStack) -> list[psutil.Process]:
    """Every process that the stack started, and theirs."""
    return psutil.Process(stack.process.pid).children(recursive=True)


def _gone(family: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)


def _is_named(process: psutil.Process, name: str) -> bool:
    """Whether it runs and has that name; some of a start's processes live for a moment only."""
    try:
        return process.name() == name
    except psutil.NoSuchProcess:
        return False


async def _answer(stack: RunningStack, prompt: str, model: str | None = "demo-fast") -> str:
    async with stack.client() as client:
        chat = await client.api.create_chat(model=model)
        async with client.watch(chat.id) as watch:
            answer = await watch.answer_to(await client.api.send(chat.id, prompt))
        return answer.content if answer.error is None else f"{answer.error.code}: {answer.error.message}"


async def test_ctrl_c_in_mid_answer_keeps_everything_and_the_next_start_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with RunningStack(folder) as first:
        family = _family(first)
        await eventually(lambda: first.log.count("Parley is ready") == 1)
        async with first.client() as client:
            chat = await client.api.create_chat(model="demo-rate-50x400")
            async with client.watch(chat.id) as watch:
                prompt = await client.api.send(chat.id, "in the middle")
                queued = await client.api.send(chat.id, "and the next")
                await watch.until(lambda state: state.generation and len(state.generation.text) > 50)
                assert first.stop() == 0
            token = client.api.access_token
        assert _gone(family), "no child is left behind"
        assert not (folder / "stack.json").exists()
    async with RunningStack(folder) as second, second.client(access_token=token) as client:
        async with client.watch(chat.id) as watch:
            answer = await watch.answer_to(prompt)
            after = await watch.answer_to(queued)
        assert answer.status == after.status == "complete"
        assert answer.content.startswith("“in the middle” ")
        assert answer.content.count("w400") == 1
        assert [page.id for page in (await client.api.chats()).items] == [chat.id]
        messages = await client.api.all_messages(chat.id)
        assert [message.role for message in messages] == ["user", "user", "assistant", "assistant"] or [
            message.role for message in messages
        ] == ["user", "assistant", "user", "assistant"]


async def test_no_child_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with RunningStack(folder) as stack:
        family = _family(stack)
        assert len(family) > 7
        stack.kill()
        wait_until(lambda: _gone(family), what="the end of all children")
    # Whatever it left does not hinder the next one, which here ends as by a terminal that closes.
    async with RunningStack(folder) as again:
        family = _family(again)
        assert "again" in await _answer(again, "again")
        assert again.stop(signal.SIGHUP) == 0
        assert _gone(family)


async def test_a_start_can_be_broken_off(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path / "data")
    stack.start()
    family = await eventually(lambda: [child for child in _family(stack) if _is_named(child, "postgres")])
    assert stack.stop(signal.SIGTERM) == 130
    assert _gone(family)
    stack.assert_no_traceback()


async def test_a_process_that_dies_comes_back_and_the_chats_go_on(tmp_path: Path) -> None:
    async with RunningStack(tmp_path / "data") as stack, stack.client() as client:
        chat = await client.api.create_chat(model="demo-fast")
        for name in ("gateway", "push", "chat-store", "llm-worker", "nats", "postgres", "demo-model"):
            before = stack.state.processes[name]
            assert before.pid is not None
            os.kill(before.pid, signal.SIGKILL)

            def restarted(name: str = name, before_pid: int = before.pid) -> bool:
                now = stack.state.processes[name]
                return now.pid not in (None, before_pid) and now.restarts == 1

            await eventually(restarted, deadline=30, what=f"the restart of {name}")
            async with client.watch(chat.id) as watch:
                answer = await watch.answer_to(await client.api.send(chat.id, f"after {name}"))
            assert f"after {name}" in answer.content


def _say(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """What ``parley up`` says when it does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "parley_cli.main", "up", "--data", str(folder), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("option", ["--port", "--push-port"])
def test_a_port_that_is_taken_is_reported_in_a_sentence(tmp_path: Path, option: str) -> None:
    other = "--push-port" if option == "--port" else "--port"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = _say(tmp_path / "data", option, str(port), other, "0")
    assert code == 1
    assert f"Port {port}" in said
    assert f"parley up {option} " in said
    assert "Traceback" not in said


async def test_a_second_stack_is_kept_off_the_data_of_the_first(stack: RunningStack) -> None:
    code, said = _say(stack.folder, "--port", "0", "--push-port", "0")
    assert code == 1
    assert f"in use by process {stack.process.pid}" in said
    assert "Traceback" not in said


async def test_servers_started_by_hand_are_used_and_none_is_embedded(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "n") as nats, PostgresServer(tmp_path / "p", password="x", fsync=False) as postgres:
        environment = {"NATS_URL": nats.url, "DATABASE_URL": postgres.url}
        async with RunningStack(tmp_path / "data", environment=environment) as stack:
            assert "by hand" in await _answer(stack, "by hand")
            assert {"nats", "postgres"}.isdisjoint(stack.state.processes)
            names = {process.name() for process in _family(stack)}
            assert "nats-server" not in names
            assert "postgres" not in names
            assert not (tmp_path / "data" / "postgres").exists()


async def test_a_password_that_nats_refuses_is_shown_while_the_start_waits(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "n", passwords={each.user: "right" for each in permissions.USERS})
    with server, PostgresServer(tmp_path / "p", password="x", fsync=False) as postgres:
        url = server.url.replace("right", "wrong")
        stack = RunningStack(tmp_path / "data", environment={"NATS_URL": url, "DATABASE_URL": postgres.url})
        stack.start()
        try:
            await eventually(lambda: "refuses the user or the password (operator). Set NATS_URL" in stack.log)
            assert stack.process.poll() is None
        finally:
            await asyncio.to_thread(stack.stop)
        stack.assert_no_traceback()
        assert "wrong@" not in stack.log


async def test_another_provider_is_used_and_a_wrong_key_is_reported(tmp_path: Path) -> None:
    with DemoModelProcess(tmp_path, api_key="right") as provider:
        environment = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "wrong"}
        async with RunningStack(tmp_path / "data", environment=environment) as stack:
            assert "demo-model" not in stack.state.processes
            said = await _answer(stack, "hippo")
            assert said.startswith("provider_auth: ")
            assert "OPENAI_API_KEY" not in said, "that is nothing for whoever chats"
            await eventually(lambda: "Set OPENAI_API_KEY" in stack.log)
    with DemoModelProcess(tmp_path) as keyless:
        async with RunningStack(tmp_path / "data", environment={"OPENAI_BASE_URL": keyless.url}) as stack:
            # The first model that the provider lists is the default, and the log says so.
            assert "hippo" in await _answer(stack, "hippo", model=None)
            await eventually(lambda: "MODEL is not set: a chat that names no model gets 'demo'" in stack.log)


async def test_replicas_share_the_ports(stack: RunningStack) -> None:
    state: State = stack.state
    for service in ("gateway", "push", "llm-worker"):
        replicas = state.of(service)
        assert set(replicas) == {f"{service}-1", f"{service}-2"}
        assert len({process.port for process in replicas.values()}) == 1
        assert len({process.health_port for process in replicas.values()}) == 2


def test_the_state_and_the_secrets_are_for_their_owner_only(stack: RunningStack) -> None:
    for name in ("stack.json", "secrets.json"):
        assert (stack.folder / name).stat().st_mode & 0o077 == 0
    assert stack.state.nats_url.split("@")[0] not in stack.log
