"""The address of push for browsers. No I/O."""

import re
from urllib.parse import urlsplit

from gateway.settings import Settings
from parley.runtime.settings import below

_HOST = re.compile(r"([A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")


def public_push_url(settings: Settings, host: str) -> str:
    """Return the address of push for a browser that sent ``host`` in its request.

    Without ``PUBLIC_PUSH_URL``: the same host, at the port and path of ``PUSH_URL``. So a page that is opened by
    another name of this machine reaches push by that name.
    """
    if settings.public_push_url is not None:
        base = settings.base_path if settings.public_push_url.startswith("/") else ""
        return base + below(base, settings.public_push_url)
    # The client chooses the header; only a host may get into a policy or an address.
    match = _HOST.fullmatch(host)
    if match is None:
        return settings.push_url
    push = urlsplit(settings.push_url)
    port = "" if push.port is None else f":{push.port}"
    return f"{push.scheme}://{match[1]}{port}{push.path}"


def socket_origin(url: str) -> str | None:
    """Return the origin of a socket's address for ``connect-src``; None when it is on the page's own."""
    if url.startswith("/"):
        return None
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
