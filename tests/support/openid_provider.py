"""A certified OpenID provider: npm's ``oidc-provider``, which the workspace installs, run by Node.js."""

from __future__ import annotations

import os
from pathlib import Path

import httpx

from parley_cli.embedded.ports import free_port
from tests.support.node import NODE
from tests.support.program import Program
from tests.support.waiting import wait_until

SCRIPT = Path(__file__).with_suffix(".mjs")


class OpenIdProvider(Program):
    """The provider with one client, whose addresses are set when the client's port is known.

    Attributes:
        issuer: Its URL.
    """

    client_id = "parley"
    client_secret = "the secret+of/a%20test's client"

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.issuer = f"http://127.0.0.1:{port}"
        super().__init__(
            "the OpenID provider",
            [NODE, str(SCRIPT), str(port), self.client_id, self.client_secret],
            dict(os.environ),
            folder / "openid-provider.log",
        )

    def wait_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, f"the OpenID provider ended:\n{self.log}"
            try:
                return httpx.get(f"{self.issuer}/.well-known/openid-configuration").is_success
            except httpx.TransportError:
                return False

        wait_until(ready, what="the OpenID provider")

    def end(self, *, failed: bool) -> None:
        self.kill()
        if failed:
            print(f"--- log of the OpenID provider ---\n{self.log[-5_000:]}")

    def set_addresses(self, *, redirect: str, logout: str, backchannel: str) -> None:
        """Set where the provider may send the browser with a code and after a sign-out, and what it calls then."""
        body = {"redirect": [redirect], "logout": [logout], "backchannel": backchannel}
        httpx.put(f"{self.issuer}/-/addresses", json=body).raise_for_status()

    def rotate_key(self) -> str:
        """Replace the signing key at once; return the id of the new one."""
        httpx.post(f"{self.issuer}/-/rotate").raise_for_status()
        (key,) = httpx.get(f"{self.issuer}/jwks").json()["keys"]
        key_id: str = key["kid"]
        return key_id
