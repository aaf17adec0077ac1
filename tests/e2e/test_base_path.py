"""Parley at /chat/ of a site that belongs to others, behind nginx with the configuration that is shipped for it."""

import re
from urllib.parse import urljoin

import httpx
import pytest

from parley_client import ParleyClient
from tests.e2e.conftest import BASE
from tests.support.waiting import eventually


async def test_the_page_finds_its_files_below_the_path(site: str) -> None:
    async with httpx.AsyncClient(base_url=site, follow_redirects=True) as http:
        page = await http.get(BASE)
        assert page.url.path == f"{BASE}/"
        base = re.search(r'<base href="([^"]*)"', page.text)
        assert base is not None
        files = re.findall(r'(?:src|href)="([^"?]+\.(?:js|css|svg))"', page.text)
        assert files
        for file in files:
            asset = await http.get(urljoin(urljoin(str(page.url), base[1]), file))
            assert asset.url.path.startswith(f"{BASE}/")
            assert asset.status_code == 200
            assert "html" not in asset.headers["content-type"]
        assert (await http.get(f"{BASE}/c/01890000-0000-7000-8000-000000000000")).text == page.text


async def test_the_cookie_is_for_the_path_alone(site: str) -> None:
    async with httpx.AsyncClient(base_url=site) as http:
        session = await http.post(f"{BASE}/v1/session", json={})
        assert f"Path={BASE};" in f"{session.headers['set-cookie']};"
        created = await http.post(f"{BASE}/v1/chats", json={})
        assert created.status_code == 201
        assert (await http.get(created.headers["location"])).json()["id"] == created.json()["id"]


@pytest.mark.parametrize("transport", ["socket", "events"])
async def test_a_question_below_the_path_is_answered_live(site: str, transport: str) -> None:
    async with ParleyClient(f"{site}{BASE}", transport=transport) as client:  # type: ignore[arg-type]
        await client.api.begin_session()
        assert (await client.api.config()).push_url == f"{BASE}/ws"
        chat = await client.api.create_chat()
        async with client.watch(chat.id) as watch:
            message_id = await client.api.send(chat.id, "What is a path?")
            await eventually(
                lambda: any(m.parent_id == message_id and m.status == "complete" for m in watch.state.messages),
                deadline=60,
            )


@pytest.mark.parametrize("path", ["/", "/v1/config", "/ws", f"{BASE}/metrics", f"{BASE}/healthz", f"{BASE}/readyz"])
async def test_nothing_else_of_the_site_is_ours(site: str, path: str) -> None:
    async with httpx.AsyncClient(base_url=site) as http:
        assert (await http.get(path)).status_code == 404
