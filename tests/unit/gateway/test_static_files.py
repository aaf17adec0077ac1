"""The page's files, and no other files."""

import gzip
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.unit.gateway.apps import app, client

INDEX = "<!doctype html><title>Parley</title>"
SCRIPT = "console.log('parley');\n" * 200


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(INDEX)
    (folder / "icon.svg").write_text("<svg/>")
    (folder / "diagram.html").write_text("<!doctype html>")
    (folder / ".hidden").write_text("x")
    (folder / "assets" / "index-abc123.js").write_text(SCRIPT)
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


@pytest.fixture
async def http(dist: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app(web_dist=dist)) as http:
        yield http


CHAT = "/c/0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a11"


@pytest.mark.parametrize("path", ["/", CHAT, f"{CHAT}/", "/shared/a-token_1", "/shared/a-token_1/"])
async def test_the_pages_own_addresses_all_show_the_page(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.text) == (200, INDEX)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


async def test_search_engines_are_asked_not_to_list_a_shared_chat(http: httpx.AsyncClient) -> None:
    assert (await http.get("/shared/a-token_1")).headers["x-robots-tag"] == "noindex"
    assert "x-robots-tag" not in (await http.get(CHAT)).headers


BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "sec-fetch-mode": "navigate"}
UNKNOWN = [
    "/shared/",
    "/shared/a/b",
    "/c/nonsense",
    "/c",
    "/c/",
    f"{CHAT}/more",
    "/nothing",
    "/a/b/c",
    "/favicon.ico",
    "/.hidden",
]


@pytest.mark.parametrize("path", UNKNOWN)
async def test_a_browser_at_an_unknown_address_gets_the_page_with_404(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path, headers=BROWSER)
    assert (answer.status_code, answer.text) == (404, INDEX)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "Accept" in answer.headers["vary"].split(", ")
    again = await http.get(path, headers={**BROWSER, "if-none-match": answer.headers["etag"]})
    assert again.status_code == 404


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        *((path, {"accept": "*/*"}) for path in UNKNOWN),
        ("/nothing", {**BROWSER, "sec-fetch-mode": "cors"}),
        ("/v1/nothing", BROWSER),
        ("/assets/nothing.js", BROWSER),
    ],
)
async def test_a_program_at_an_unknown_address_gets_a_problem(
    http: httpx.AsyncClient, path: str, headers: dict[str, str]
) -> None:
    answer = await http.get(path, headers=headers)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_page_may_load_only_from_here_and_connect_only_to_push(http: httpx.AsyncClient) -> None:
    policy = (await http.get("/")).headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "connect-src 'self' ws://chat.test:8001" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in "".join(policy)


async def test_the_policy_requires_trusted_types_and_allows_none(http: httpx.AsyncClient) -> None:
    policy = (await http.get("/")).headers["content-security-policy"].split("; ")
    assert "require-trusted-types-for 'script'" in policy
    assert "trusted-types 'none'" in policy


async def test_diagrams_are_drawn_in_a_document_without_an_origin_and_a_network(http: httpx.AsyncClient) -> None:
    answer = await http.get("/diagram.html")
    policy = answer.headers["content-security-policy"].split("; ")
    assert "sandbox allow-scripts" in policy
    assert "default-src 'none'" in policy
    assert not [rule for rule in policy if rule.startswith("connect-src")]
    assert "frame-ancestors 'self'" in policy
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"


async def test_the_assets_of_the_previous_build_are_served(http: httpx.AsyncClient, dist: Path) -> None:
    old = dist.with_name("dist-previous") / "assets"
    old.mkdir(parents=True)
    (old / "maths-0ld.js").write_text(SCRIPT)
    (old.parent / "index.html").write_text("old")
    answer = await http.get("/assets/maths-0ld.js")
    assert (answer.status_code, answer.text) == (200, SCRIPT)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await http.get("/")).text == INDEX


async def test_the_assets_may_be_loaded_by_a_document_without_an_origin(http: httpx.AsyncClient) -> None:
    answer = await http.get("/assets/index-abc123.js")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "access-control-allow-origin" not in (await http.get("/")).headers


async def test_an_invalid_host_header_does_not_get_into_the_policy(http: httpx.AsyncClient) -> None:
    answer = await http.get("/", headers={"host": "x; script-src https://evil.test"})
    assert "evil" not in answer.headers["content-security-policy"]


async def test_assets_are_immutable(http: httpx.AsyncClient) -> None:
    answer = await http.get("/assets/index-abc123.js")
    assert answer.text == SCRIPT
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_compressible_files_are_compressed_for_clients_that_accept_it(http: httpx.AsyncClient) -> None:
    async with http.stream("GET", "/assets/index-abc123.js", headers={"accept-encoding": "gzip"}) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert len(raw) < len(SCRIPT) / 10
    assert gzip.decompress(raw).decode() == SCRIPT
    plain = await http.get("/assets/index-abc123.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers


async def test_an_unchanged_file_is_a_304(http: httpx.AsyncClient) -> None:
    etag = (await http.get("/")).headers["etag"]
    answer = await http.get("/", headers={"if-none-match": f'"other", {etag}'})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == etag


async def test_a_page_that_was_rebuilt_is_read_again(http: httpx.AsyncClient, dist: Path) -> None:
    old = (await http.get("/")).headers["etag"]
    (dist / "index.html").write_text("<p>new</p>")
    os.utime(dist / "index.html", ns=(1, 1))
    answer = await http.get("/", headers={"if-none-match": old})
    assert (answer.status_code, answer.text) == (200, "<p>new</p>")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/assets/../../secret.txt",
        "/..\\secret.txt",
        "/link.txt",
        "/.hidden",
        "/assets",
        "/assets/",
        "/index.html%00.js",
        "//etc/passwd",
        "/nothing.js",
        "/v1/nothing",
        "/" + "a" * 5000,
    ],
)
async def test_nothing_else_is_served(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(httpx.URL("http://chat.test").copy_with(raw_path=path.encode()))
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text


async def test_head_of_a_file_has_the_headers_of_get(http: httpx.AsyncClient) -> None:
    answer = await http.head("/")
    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(len(INDEX))


async def test_the_page_cannot_be_posted_to(http: httpx.AsyncClient) -> None:
    answer = await http.post("/")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("folder", [None, "empty"])
async def test_a_missing_page_is_a_503_that_explains_how_to_build_it(tmp_path: Path, folder: str | None) -> None:
    async with client(app(web_dist=tmp_path if folder else None)) as http:
        answer = await http.get("/")
    assert answer.status_code == 503
    assert "make web" in answer.text


@pytest.mark.parametrize("prefix", ["/chat", ""], ids=["passed on", "taken away"])
async def test_everything_is_served_below_a_base_path_whether_or_not_the_proxy_strips_it(
    prefix: str, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text('<head><base href="/" /><script src="./assets/a.js"></script></head>')
    async with client(app(web_dist=tmp_path, base_path="/chat/")) as http:
        for path in ("/", "/c/0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a11"):
            page = await http.get(f"{prefix}{path}")
            assert '<base href="/chat/" />' in page.text
            assert "base-uri 'self'" in page.headers["content-security-policy"]
        assert (await http.get(f"{prefix}/v1/config")).json()["push_url"]
        session = await http.post(f"{prefix}/v1/session", json={})
        assert "Path=/chat;" in session.headers["set-cookie"]
    async with client(app(web_dist=tmp_path, base_path="/chat")) as http:
        assert (await http.get("/chat")).status_code == 200
        assert (await http.get("/chatter")).status_code == 404
