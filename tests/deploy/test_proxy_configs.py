"""The two configurations of nginx say the same, but for the path, and let through what the gateway allows."""

import re
import threading
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from parley_cli.embedded.ports import LOOPBACK
from tests.deploy.support.delayed_requests import LARGEST_BODY, LONGEST_ANSWER, delayed_paths
from tests.deploy.support.stack import Proxy, nginx_program

FOLDER = Path(__file__).parents[2] / "deploy" / "proxy"
ONLY_BELOW = {
    "absolute_redirect off;",
    "location = {",
    "return 308 /$is_args$args;",
    "}",
    "location / {",
    "return 404;",
}
"""What the one below a path has besides, without the path: the redirect to it, and the rest of the site."""


def lines(name: str) -> Counter[str]:
    """Without comments, the path and white space."""
    found: Counter[str] = Counter()
    for line in (FOLDER / name).read_text().splitlines():
        text = re.sub(r"\s+", " ", re.sub(r"/chat(?=/|\b)", "", line.partition("#")[0])).strip()
        if text:
            found[text] += 1
    return found


def test_below_a_path_everything_else_is_as_without() -> None:
    plain, below = lines("nginx.conf"), lines("below-a-path.conf")
    assert not plain - below, "missing below a path"
    assert set(below - plain) <= ONLY_BELOW, "said only below a path"


# --- answers of other clients' protocols ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Location:
    """A location of nginx, with what it inherits."""

    matches: re.Pattern[str]
    directives: dict[str, str]


def locations(name: str) -> list[Location]:
    """Those with a regular expression first, as nginx looks for them (all others have no such match here)."""
    text = re.sub(r"#.*", "", (FOLDER / name).read_text())
    server = text[text.index("listen 8080;") : text.index("listen 8081;")]
    inherited = _directives(re.sub(r"location[^{]*\{[^}]*\}", "", server))
    found = []
    for kind, path, body in re.findall(r"location (=|~)? ?(\S+) \{([^}]*)\}", server):
        pattern = path if kind == "~" else re.escape(path) + ("$" if kind == "=" else "")
        found.append(
            (("=", "~", "").index(kind), -len(path), Location(re.compile(pattern), inherited | _directives(body)))
        )
    return [location for _, _, location in sorted(found, key=lambda each: each[:2])]


def _directives(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\s*([a-z_]+) ([^;{}]+);", text, re.M))


def seconds(value: str) -> int:
    return int(value[:-1]) * {"s": 1, "m": 60, "h": 3600}[value[-1]]


def size(value: str) -> int:
    return int(value[:-1]) * {"k": 1024, "m": 1024**2}[value[-1]]


def location_of(name: str, path: str) -> dict[str, str]:
    return next(each.directives for each in locations(name) if each.matches.match(path))


@pytest.mark.parametrize(("name", "base"), [("nginx.conf", ""), ("below-a-path.conf", "/chat")])
@pytest.mark.parametrize("path", delayed_paths())
def test_what_is_sent_when_an_answer_is_complete_is_waited_for(name: str, base: str, path: str) -> None:
    directives = location_of(name, base + path)
    assert directives["proxy_pass"] == "http://$gateway"
    assert directives["proxy_buffering"] == "off"
    assert seconds(directives["proxy_read_timeout"]) >= LONGEST_ANSWER
    assert size(directives["client_max_body_size"]) > LARGEST_BODY
    # A request that was sent is not sent again: neither "non_idempotent" nor a status.
    assert directives["proxy_next_upstream"] == "error timeout"


@pytest.mark.parametrize(
    ("path", "read_timeout"),
    [("/ws", 60), ("/v1/chats/x/stream", 60), ("/v1/chats", 30), ("/openai", 3600), ("/openaix", 30)],
)
def test_the_location_of_a_path(path: str, read_timeout: int) -> None:
    assert seconds(location_of("nginx.conf", path)["proxy_read_timeout"]) == read_timeout


class _SignOut(BaseHTTPRequestHandler):
    """Answers as the gateway does at a sign-in and a sign-out with an ID token as large as a cookie may be."""

    def do_GET(self) -> None:
        self.send_response(303)
        self.send_header("X-Scheme", self.headers["X-Forwarded-Proto"])
        self.send_header("Location", f"/?id_token_hint={'t' * 3800}")
        self.send_header("Set-Cookie", f"id={'t' * 3800}; HttpOnly")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("name", "base"), [("nginx.conf", ""), ("below-a-path.conf", "/chat")])
def test_the_cookies_and_the_scheme_of_a_sign_in_are_passed_on(name: str, base: str, tmp_path: Path) -> None:
    if nginx_program() is None:
        pytest.skip("nginx is not installed (Debian: nginx-light), so the proxy was not tried")
    with ThreadingHTTPServer((LOOPBACK, 0), _SignOut) as gateway:
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        port = gateway.server_address[1]
        with Proxy(tmp_path / "proxy", gateway=port, push=port, config=name) as proxy:
            url = f"{proxy.url}{base}/v1/auth/oidc/callback"
            response = httpx.get(url, trust_env=False)
            schemes = [
                httpx.get(url, headers={"x-forwarded-proto": said}, trust_env=False).headers["x-scheme"]
                for said in ("https", "HTTPS, http", "http, https", "httpsx", "")
            ]
        gateway.shutdown()
    assert response.status_code == 303
    assert len(response.headers["set-cookie"]) > 3800
    assert schemes == ["https", "https", "http", "http", "http"], "as a proxy before it says"
