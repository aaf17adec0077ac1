"""`docker compose up` with nothing set, as far as it goes without Docker: a person gets an answer."""

import asyncio
from collections.abc import Iterator

import asyncpg
import httpx
import pytest

from parley.contracts.limits import MAX_PROMPT_BYTES
from parley_client import ParleyClient
from tests.deploy.support.stack import ComposeStack, nginx_program
from tests.support.demo_model import DemoModelProcess

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, demo_model_process: DemoModelProcess) -> Iterator[ComposeStack]:
    folder = tmp_path_factory.mktemp("compose")
    folder.chmod(0o755)
    with ComposeStack(folder, demo_model=demo_model_process.url, with_proxy=nginx_program() is not None) as stack:
        yield stack


@pytest.fixture
def url(stack: ComposeStack) -> str:
    if nginx_program() is None:
        pytest.skip("nginx is not installed (Debian: nginx-light), so the proxy was not tried")
    return stack.url


@pytest.mark.parametrize("transport", ["socket", "events"])
async def test_a_question_through_the_proxy_is_answered(url: str, transport: str) -> None:
    async with ParleyClient(url, transport=transport) as client:  # type: ignore[arg-type]
        await client.api.begin_session()
        chat = await client.api.create_chat()
        async with client.watch(chat.id) as watch:
            parts: list[str] = []
            message_id = await client.api.send(chat.id, "What is a cursor?")
            async with asyncio.timeout(60):
                async for state in watch:
                    if state.generation is not None:
                        parts.append(state.generation.text)
                    if any(m.parent_id == message_id and m.status == "complete" for m in state.messages):
                        break
        stored = await client.api.messages(chat.id)
    assert stored.items[-1].status == "complete"
    assert "cursor" in stored.items[-1].content
    # It grew while we looked: the proxy holds nothing back.
    assert len({len(part) for part in parts}) > 3


async def test_the_page_and_its_origin_are_one(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as http:
        page = await http.get("/")
        config = (await http.get("/v1/config")).json()
    assert "A page" in page.text
    assert config["push_url"] == "/ws"
    assert config["demo"] is True


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_what_is_for_operators_is_not_for_the_outside(url: str, path: str) -> None:
    async with httpx.AsyncClient(base_url=url) as http:
        assert (await http.get(path)).status_code == 404


async def test_a_message_that_is_too_long_gets_the_gateways_problem(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as http:
        token = (await http.post("/v1/session", json={})).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        chat = (await http.post("/v1/chats", json={}, headers=headers)).json()
        body = {"content": "x" * (MAX_PROMPT_BYTES + 1)}
        response = await http.post(f"/v1/chats/{chat['id']}/messages", json=body, headers=headers)
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_service_gets_no_more_settings_than_it_needs(stack: ComposeStack) -> None:
    # Every process became ready with the secrets of its own folder alone.
    for name, process in stack.processes.items():
        assert process.get("/readyz")[0] == 200, name
        assert not any(map(process.environment.get, ("NATS_URL", "DATABASE_URL", "SECRET_KEY")))


async def test_the_running_service_cannot_change_the_schema(stack: ComposeStack) -> None:
    connection = await asyncpg.connect((stack.secrets / "chat-store" / "database_url").read_text())
    try:
        for statement in (
            "CREATE TABLE mine (id integer)",
            "ALTER TABLE messages DROP COLUMN content",
            "DROP TABLE messages",
            "TRUNCATE messages",
            "CREATE SCHEMA mine",
            "CREATE ROLE somebody",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        assert await connection.fetchval("SELECT count(*) >= 0 FROM messages")
    finally:
        await connection.close()


def test_nothing_is_refused_on_the_bus(stack: ComposeStack) -> None:
    # "Publish Violation" and "Subscription Violation", as the server logs them.
    assert [line for line in stack.nats.log_file.read_text().splitlines() if "Violation" in line] == []
