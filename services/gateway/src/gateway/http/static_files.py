"""The built page: ``index.html`` at its own addresses, and its files. Serves what no route matches.

An unknown address is a 404: with the page, which shows that and links home, for a browser that navigates there, and
with a problem for every other client. Why not Starlette's static files: docs/decisions/0038.
"""

import asyncio
import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from gateway.errors import MethodNotAllowed, NotFound
from gateway.http.push_url import public_push_url, socket_origin
from gateway.settings import Settings
from parley.contracts.ids import is_id

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_COMPRESSIBLE = frozenset({".css", ".html", ".js", ".json", ".map", ".svg", ".txt", ".wasm", ".webmanifest"})

# Files below assets/ carry a hash of their content in their name.
_IMMUTABLE = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"

_BASE = b'<base href="/"'
"""What all addresses in ``index.html`` are relative to, as it is built."""
_DIAGRAM = "/diagram.html"
"""The document that draws diagrams, within the page and without an origin of its own."""

_SHARED = re.compile(r"/shared/[\w-]+/?")
"""The page of a share link, which search engines are not to list."""

_PUBLIC = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
"""Of the assets, which contain nothing private: a document without an origin loads them across origins."""

_INTERFACES = ("/v1/", "/openai/", "/ai-sdk/", "/ag-ui", "/assets/")
"""Below these a 404 is a problem for browsers too."""

_NOT_BUILT = "The page is not built: run `make web`, or set WEB_DIST to its folder. The interface is at /v1.\n"


@dataclass(frozen=True)
class _File:
    stamp: tuple[int, int]
    body: bytes
    zipped: bytes | None
    etag: str


class WebPage:
    """An ASGI application, to be the router's default.

    Files are cached in memory, compressed once; a file that changed is read again. The assets of the previous build are
    served too, from the folder with ``-previous`` in its name: a tab that was open during an upgrade loads its parts
    when it first needs them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.web_dist.resolve() if settings.web_dist is not None else None
        self._previous = self._root.with_name(f"{self._root.name}-previous") if self._root is not None else None
        self._files: dict[Path, _File] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._respond(request)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        path = request.scope["path"]
        is_shared = _SHARED.fullmatch(path) is not None
        is_page = path == "/" or _is_chat(path) or is_shared
        is_asset = path.startswith("/assets/")
        name = "index.html" if is_page else path.lstrip("/")
        file = _locate(self._root, name) or (_locate(self._previous, name) if is_asset else None)
        status = 200
        if file is None and not is_page:
            file, status = _locate(self._root, "index.html"), 404
            if file is None or not _navigates(request):
                raise NotFound("There is nothing at this address.", headers={"Vary": "Accept"})
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed("The page can only be read.", headers={"Allow": "GET, HEAD"})
        if file is None:
            return PlainTextResponse(_NOT_BUILT, 503)
        headers = {"Cache-Control": _IMMUTABLE, **_PUBLIC} if is_asset else {"Cache-Control": _REVALIDATE}
        if status == 404:
            headers["Vary"] = "Accept"
        if is_shared:
            headers["X-Robots-Tag"] = "noindex"
        if path == _DIAGRAM:
            headers["X-Frame-Options"] = "SAMEORIGIN"
            headers["Content-Security-Policy"] = diagram_security_policy()
        elif file.suffix == ".html":
            headers["Content-Security-Policy"] = content_security_policy(
                socket_origin(public_push_url(self._settings, request.headers.get("host", "")))
            )
        return await self._deliver(request, file, headers, status)

    async def _deliver(self, request: Request, path: Path, headers: dict[str, str], status: int) -> Response:
        file = await self._load(path)
        headers["ETag"] = file.etag
        if status == 200 and file.etag in map(str.strip, request.headers.get("if-none-match", "").split(",")):
            return Response(None, 304, headers)
        body = file.body
        if file.zipped is not None:
            headers["Vary"] = ", ".join(filter(None, (headers.get("Vary"), "Accept-Encoding")))
            if "gzip" in request.headers.get("accept-encoding", ""):
                headers["Content-Encoding"] = "gzip"
                body = file.zipped
        media_type = _TYPES.get(path.suffix, "application/octet-stream")
        headers["Content-Type"] = media_type
        return Response(body, status, headers)

    async def _load(self, path: Path) -> _File:
        stamp = _stamp(path)
        file = self._files.get(path)
        if file is None or file.stamp != stamp:
            file = await asyncio.to_thread(_read, path, stamp, self._settings.base_path)
            self._files[path] = file
        return file


def _is_chat(path: str) -> bool:
    begin, _, chat_id = path.rstrip("/").rpartition("/")
    return begin == "/c" and is_id(chat_id)


def _navigates(request: Request) -> bool:
    """Whether a browser navigates to the address, as opposed to a program or a request of a page."""
    path: str = request.scope["path"]
    return (
        request.method in ("GET", "HEAD")
        and not path.startswith(_INTERFACES)
        and "text/html" in request.headers.get("accept", "")
        and request.headers.get("sec-fetch-mode", "navigate") == "navigate"
    )


def _locate(root: Path | None, name: str) -> Path | None:
    """Return the file of that name if it exists within ``root``."""
    if root is None or "\0" in name or "\\" in name:
        return None
    try:
        path = (root / name).resolve()
        if path.is_relative_to(root) and path.is_file() and not path.name.startswith("."):
            return path
    except OSError:
        pass
    return None


def _stamp(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size


def _read(path: Path, stamp: tuple[int, int], base_path: str) -> _File:
    body = path.read_bytes()
    if path.name == "index.html":
        body = body.replace(_BASE, _BASE.replace(b"/", f"{base_path}/".encode(), 1), 1)
    zipped = gzip.compress(body, 6, mtime=0) if path.suffix in _COMPRESSIBLE and len(body) > 1024 else None
    # Weak: the same for the plain and the compressed form.
    return _File(stamp, body, zipped, f'W/"{hashlib.sha256(body).hexdigest()[:24]}"')


def content_security_policy(push_origin: str | None) -> str:
    """Return the page's policy: what it needs and nothing else.

    No images of other sites: an answer could otherwise leak the chat through an image's address. No policy for trusted
    types can be created: the page builds elements and never parses text as markup or code.
    """
    connect = "'self'" if push_origin is None else f"'self' {push_origin}"
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            f"connect-src {connect}",
            "manifest-src 'self'",
            "frame-src 'self'",
            # Of index.html: all its addresses are relative to it.
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def diagram_security_policy() -> str:
    """Return the policy of the diagrams' document: inline styles for Mermaid; no network, no session, no origin."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'unsafe-inline'",
            "img-src data:",
            "font-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'self'",
            "sandbox allow-scripts",
        )
    )
