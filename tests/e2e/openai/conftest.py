"""The official SDK in front of a whole Parley."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import openai
import pytest

from parley_client import ParleyClient
from tests.support.stack import RunningStack


@dataclass(frozen=True)
class Caller:
    """A user with an API key for the OpenAI API.

    Attributes:
        own: The same user's client of Parley's own interface.
    """

    base_url: str
    key: str
    own: ParleyClient

    def sync(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.base_url, api_key=self.key, max_retries=0, timeout=60)

    def client(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=self.key, max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with RunningStack(tmp_path_factory.mktemp("openai") / "data", environment={"RETRY_TIME": "1"}) as running:
        yield running


@pytest.fixture
async def caller(own_stack: RunningStack) -> AsyncIterator[Caller]:
    """A new user."""
    async with own_stack.client() as own, httpx.AsyncClient(base_url=own_stack.url, trust_env=False) as http:
        session = (await http.post("/v1/session")).json()
        http.cookies.clear()
        http.headers["authorization"] = f"Bearer {session['access_token']}"
        key = await http.post("/v1/api-keys", json={"name": "sdk", "scopes": ["openai"]})
        assert key.status_code == 201, key.text
        token = session["access_token"]
        async with own_stack.client(access_token=token) as own:
            yield Caller(f"{own_stack.url}/openai/v1", key.json()["secret"], own)
