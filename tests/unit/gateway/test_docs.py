"""The OpenAPI document and the page that shows it."""

import base64
import hashlib
import re

import pytest

from tests.unit.gateway.apps import app, client


async def test_the_document_is_served() -> None:
    async with client(app()) as http:
        answer = await http.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "servers" not in answer.json()


@pytest.mark.parametrize("prefix", ["/chat", ""], ids=["passed on", "taken away"])
async def test_the_document_names_the_base_path_as_its_server(prefix: str) -> None:
    async with client(app(base_path="/chat")) as http:
        assert (await http.get(f"{prefix}/openapi.json")).json()["servers"] == [{"url": "/chat"}]
        assert (await http.get(f"{prefix}/docs")).status_code == 200


async def test_everything_that_the_page_loads_is_served_here() -> None:
    async with client(app()) as http:
        page = await http.get("/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        addresses = re.findall(r"(?:href|src)=\"([^\"]+)\"|url: '([^']+)'", page.text)
        assert len(addresses) == 4
        for address in map("".join, addresses):
            assert "//" not in address
            assert (await http.get(page.url.join(address))).status_code == 200


async def test_the_page_may_run_its_own_script_and_no_other() -> None:
    async with client(app()) as http:
        page = await http.get("/docs")
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = page.headers["content-security-policy"].split("; ")
    assert f"script-src 'self' 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("path", ["/docs/assets/../main.py", "/docs/assets/__init__.py.", "/docs/assets", "/docs/x"])
async def test_nothing_else_is_served_with_the_page(path: str) -> None:
    async with client(app()) as http:
        assert (await http.get(path)).status_code == 404
