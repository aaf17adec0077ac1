"""The documentation of the HTTP interface for people: Swagger UI, whose files come from an installed package."""

import base64
import hashlib
import re

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

# Relative, so that they hold below BASE_PATH as well.
_DOCUMENT = "openapi.json"
_ASSETS = "docs/assets"

_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def add_routes(app: FastAPI) -> None:
    page = get_swagger_ui_html(
        openapi_url=_DOCUMENT,
        title=f"{app.title}: HTTP interface",
        swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS}/favicon-32x32.png",
    )
    html = bytes(page.body).decode()
    headers = {"Content-Security-Policy": _security_policy(html)}

    async def show_documentation(request: Request) -> HTMLResponse:
        return HTMLResponse(html, headers=headers)

    app.add_route("/docs", show_documentation, include_in_schema=False)
    app.mount(f"/{_ASSETS}", StaticFiles(packages=[("fastapi_swagger", "resources")]))


def _security_policy(html: str) -> str:
    """Allow the page its own files, its one inline script by its hash, and the styles that Swagger UI makes."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()) for script in _INLINE_SCRIPT.findall(html)]
    scripts = " ".join(["'self'", *(f"'sha256-{value.decode()}'" for value in hashes)])
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {scripts}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
