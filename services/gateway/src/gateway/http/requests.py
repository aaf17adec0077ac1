"""Reading a request: its body, its page parameters and the ids in its path."""

import asyncio
import codecs
import json
import re
from collections.abc import Coroutine
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from fastapi import Depends, Path, Query
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from gateway.errors import Invalid, Malformed, NotFound, RequestTimeout, TooLarge, UnsupportedMediaType
from gateway.http.routing import raises
from parley.contracts.ids import ID_PATTERN, is_derived, is_id
from parley.contracts.limits import MAX_PAGE, MAX_PROMPT_BYTES, MAX_SYSTEM_PROMPT_BYTES
from parley.contracts.text import is_blank
from parley.runtime import tasks

T = TypeVar("T")

MAX_BODY_BYTES = 6 * MAX_PROMPT_BYTES + 64 * 1024
"""The largest body of any route: JSON may escape one byte of a prompt with six."""

MAX_TURN_BODY_BYTES = 4 * 1024 * 1024
"""The largest body of a request in another protocol, which has a conversation with images. What is made of it has to
fit into a message of NATS."""

_PROTOCOLS = ("/openai/", "/ai-sdk/", "/ag-ui")

BODY_SECONDS = 30.0
"""How long a body may take to arrive."""

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
Before = Annotated[str | None, Query(max_length=1024, description="`next` of the page before.")]

_UNKNOWN_FIELD = re.compile(r"unknown field `([^`]*)`")
_PLACE = re.compile(r" - at `\$([^`]*)`$")


def _path_id(name: str, what: str) -> Any:
    """Return the dependency that reads an id from the path."""

    @raises(NotFound)
    async def checked(
        value: Annotated[str, Path(alias=name, json_schema_extra={"format": "uuid", "pattern": ID_PATTERN})],
    ) -> str:
        # Other text names nothing, and must not get into a subject.
        if not is_id(value):
            raise NotFound(f"There is no such {what}.")
        return value

    return Depends(checked)


ChatId = Annotated[str, _path_id("chat_id", "chat")]
MessageId = Annotated[str, _path_id("message_id", "message")]
MemberId = Annotated[str, _path_id("user_id", "user")]
SessionId = Annotated[str, _path_id("session_id", "session")]
KeyId = Annotated[str, _path_id("key_id", "API key")]
ShareId = Annotated[str, _path_id("share_id", "link")]


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``; cancel it when the client disconnects before. The request's body has been read.

    Raises:
        ClientDisconnect
    """
    working, disconnecting = asyncio.create_task(work), asyncio.create_task(disconnected(request.receive))
    try:
        await asyncio.wait((working, disconnecting), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        await tasks.end(working, disconnecting)


async def disconnected(receive: Receive) -> None:
    """Return when the client has disconnected. Its body has been read, or it sends none."""
    while (await receive())["type"] != "http.disconnect":
        pass


class JsonBody(Generic[T]):
    """A dependency that reads the body as a struct, within the limits of size and time.

    Attributes:
        type: The struct.
        optional: No body at all is an empty object.
    """

    raises = (Malformed, RequestTimeout, TooLarge, UnsupportedMediaType, Invalid)

    def __init__(self, type: type[T], *, optional: bool = False) -> None:
        self.type = type
        self.optional = optional
        self._decoder = msgspec.json.Decoder(type)

    async def __call__(self, request: Request) -> T:
        body = await read_body(request)
        if not body:
            if not self.optional:
                raise Malformed("The request has no body; it must be a JSON object.")
            body = b"{}"
        elif not is_json(request):
            raise UnsupportedMediaType("The body must be JSON, with Content-Type: application/json.")
        body = body.removeprefix(codecs.BOM_UTF8)
        try:
            try:
                return self._decoder.decode(body)
            except msgspec.ValidationError:
                raise
            except msgspec.DecodeError:
                return self._decoder.decode(_replace_lone_surrogates(body))
        except msgspec.ValidationError as error:
            raise invalid(str(error)) from None
        except (ValueError, RecursionError):
            raise Malformed("The body is not JSON.") from None


def invalid(text: str, within: str = "") -> Invalid:
    """Return the error for what msgspec says of a body, or of what is ``within`` it, with the place that it names."""
    unknown = _UNKNOWN_FIELD.search(text)
    place = _PLACE.search(text)
    field = f"{within}{place[1] if place is not None else ''}".removeprefix(".")
    if unknown is None:
        return Invalid(f"{text}.", field=field or None)
    return Invalid(f"{text}.", code="unknown_parameter", field=f"{field}.{unknown[1]}".removeprefix("."))


def _replace_lone_surrogates(body: bytes) -> bytes:
    """Return JSON with U+FFFD for each lone surrogate, as browsers decode it (WHATWG Encoding, section 4).

    A text that was cut between UTF-16 units has one, and ``JSON.stringify`` escapes it.

    Raises:
        ValueError: the body is not JSON for another reason.
    """
    text = json.dumps(json.loads(body.decode()), ensure_ascii=False)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def max_body_bytes(path: str) -> int:
    """Return how long the body of a request of this path may be."""
    return MAX_TURN_BODY_BYTES if path.startswith(_PROTOCOLS) else MAX_BODY_BYTES


async def read_body(request: Request, *, limit: int | None = None) -> bytes:
    """Read the body, at most ``limit`` bytes of it, or as much as a request of its path may have.

    Raises:
        TooLarge: it is longer; the rest is not read.
        RequestTimeout: it did not arrive within ``BODY_SECONDS``.
        ClientDisconnect: the client disconnected before its end.
    """
    chunks = []
    size = 0
    limit = limit or max_body_bytes(request.scope["path"])
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise TooLarge(f"The body is longer than {limit} bytes.")
                chunks.append(chunk)
    except TimeoutError:
        raise RequestTimeout(f"The body did not arrive within {BODY_SECONDS:g} seconds.") from None
    return b"".join(chunks)


def is_json(request: Request) -> bool:
    return media_type(request) == "application/json"


def media_type(request: Request) -> str:
    """Return the body's type, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_id(value: str | None, field: str) -> str | None:
    """Check an id within a body. Raises :class:`Invalid`."""
    if value is not None and not is_id(value):
        raise Invalid(f"{field} must be a UUID in lower case, such as 0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a11.")
    return value


def check_new_id(value: str | None, field: str) -> str | None:
    """Check an id that a client has made. Raises :class:`Invalid`, also for one that may be derived for a user."""
    if (checked := check_id(value, field)) is not None and is_derived(checked):
        raise Invalid(f"{field} must not be a UUID of version 8: those are made from an Idempotency-Key or a name.")
    return value


def check_text(text: str | None, field: str) -> str | None:
    """Check a text within a body: JSON may contain NUL, text in Postgres may not. Raises :class:`Invalid`."""
    if text is not None and "\0" in text:
        raise Invalid(f"{field} must not contain the character NUL.")
    return text


def check_content(content: str) -> str:
    """Check the content of a message. Raises :class:`Invalid` or :class:`TooLarge`."""
    if is_blank(content):
        raise Invalid("The message is empty.", code="empty_message")
    if _exceeds(content, MAX_PROMPT_BYTES):
        raise TooLarge(f"The message is longer than {MAX_PROMPT_BYTES} bytes of UTF-8.")
    check_text(content, "content")
    return content


def check_title(text: str | None) -> str | None:
    """Check a chat's title. Raises :class:`Invalid`."""
    if text is not None and is_blank(text):
        raise Invalid("title must have a visible character; null is no title.")
    return check_text(text, "title")


def check_system_prompt(text: str | None) -> str | None:
    """Check a system prompt. Raises :class:`Invalid` or :class:`TooLarge`."""
    if text is not None and _exceeds(text, MAX_SYSTEM_PROMPT_BYTES):
        raise TooLarge(f"The system prompt is longer than {MAX_SYSTEM_PROMPT_BYTES} bytes of UTF-8.")
    return check_text(text, "system_prompt")


def _exceeds(text: str, limit: int) -> bool:
    return len(text) > limit or len(text.encode()) > limit
