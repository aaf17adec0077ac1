"""A small OpenID provider on loopback, whose every fault a test can cause."""

import asyncio
import base64
import contextlib
import functools
import hashlib
import json
import secrets
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID = "parley"
CLIENT_SECRET = "secret-of-the-client"


class SigningKey:
    """A key pair with a name."""

    def __init__(self, key_id: str) -> None:
        self.id = key_id
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def sign(self, claims: dict[str, Any], **headers: Any) -> str:
        return jwt.encode(claims, self.private, algorithm="RS256", headers={"kid": self.id, **headers})

    @property
    def published(self) -> dict[str, Any]:
        jwk: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**jwk, "kid": self.id, "use": "sig", "alg": "RS256"}


@functools.cache
def _first_key() -> SigningKey:
    """Return the key that every provider begins with: to make one takes 0.2 s of CPU."""
    return SigningKey("first")


class OidcProvider:
    """Serves while entered.

    Attributes:
        key: Signs.
        published: The keys that the JWK set has.
        claims: Of the user who signs in, for the ID token.
        info: More of them, only at the user-info endpoint.
        fetches: Requests by path.
        metadata: Instead of what its metadata has.
        bodies: Responses by path, instead of its own.
        dripping: Path whose response has no end, and comes byte by byte.
        client: The client's id and secret.
        decodes: Whether it decodes them, as RFC 6749 (section 2.3.1) asks for and many providers do not.
    """

    def __init__(self) -> None:
        self.key = _first_key()
        self.published = [self.key]
        self.claims: dict[str, Any] = {"sub": "ada"}
        self.info: dict[str, Any] = {"name": "Ada Lovelace", "email": "ada@example.com"}
        self.fetches: dict[str, int] = {}
        self.down = False
        self.metadata: dict[str, Any] = {}
        self.bodies: dict[str, bytes] = {}
        self.dripping: str | None = None
        self.client = (CLIENT_ID, CLIENT_SECRET)
        self.decodes = True
        self._codes: dict[str, dict[str, str]] = {}
        self._tokens: set[str] = set()
        self._serving: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.issuer = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving)
        await self._server.wait_closed()

    def rotate(self) -> None:
        """Sign with a new key from now on; the old one is published no more."""
        self.key = SigningKey(secrets.token_hex(4))
        self.published = [self.key]

    def authorize(self, address: str) -> str:
        """Sign the user in, as the page of the provider does; return where it leads the browser."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert address.startswith(f"{self.issuer}/authorize?")
        assert query["response_type"] == "code"
        assert query["client_id"] == self.client[0]
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state'], 'iss': self.issuer})}"

    def id_token(self, nonce: str, **claims: Any) -> dict[str, Any]:
        now = int(time.time())
        times = {"iat": now, "exp": now + 300}
        return {"iss": self.issuer, "aud": self.client[0], "nonce": nonce, **times, **self.claims, **claims}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        # The client may leave before its response, and the test end before that.
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await self._answer(reader, writer)
        writer.close()
        self._serving.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
        path = line.split(" ")[1]
        self.fetches[path] = self.fetches.get(path, 0) + 1
        status, reply = (503, {}) if self.down else self._respond(path, headers, dict(parse_qsl(body)))
        content = self.bodies.get(path, json.dumps(reply).encode())
        if path == self.dripping:
            await self._drip(writer)
            return
        writer.write(
            b"HTTP/1.1 %d Status\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
            % (status, len(content), content)
        )
        await writer.drain()

    async def _drip(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 Status\r\nContent-Type: application/json\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    def _respond(self, path: str, headers: dict[str, str], form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        match path:
            case "/.well-known/openid-configuration":
                return 200, {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.issuer}/authorize",
                    "token_endpoint": f"{self.issuer}/token",
                    "userinfo_endpoint": f"{self.issuer}/userinfo",
                    "jwks_uri": f"{self.issuer}/keys",
                    "end_session_endpoint": f"{self.issuer}/logout",
                    "id_token_signing_alg_values_supported": ["RS256"],
                    **self.metadata,
                }
            case "/keys" if headers.get("accept") not in ("*/*", "application/jwk-set+json"):
                return 406, {}  # that is the type of a JWK set
            case "/keys":
                return 200, {"keys": [key.published for key in self.published]}
            case "/token":
                return self._exchange(headers, form)
            case "/userinfo" if headers.get("authorization", "").removeprefix("Bearer ") in self._tokens:
                return 200, {"sub": self.claims["sub"], **self.info}
            case _:
                return 401, {}

    def _exchange(self, headers: dict[str, str], form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        given = base64.b64decode(headers.get("authorization", "").removeprefix("Basic ")).decode().partition(":")[::2]
        if (tuple(map(unquote_plus, given)) if self.decodes else given) != self.client:
            return 401, {"error": "invalid_client"}
        # A code is good once.
        query = self._codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            query is None
            or challenge.decode().rstrip("=") != query["code_challenge"]
            or form["redirect_uri"] != query["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        token = secrets.token_urlsafe(16)
        self._tokens.add(token)
        return 200, {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": 300,
            "id_token": self.key.sign(self.id_token(query["nonce"])),
        }
