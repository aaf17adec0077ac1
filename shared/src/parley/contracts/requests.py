"""What a request over core NATS is. A request names its reply type; every reply may be ``RpcError`` instead.

Requests that change something are idempotent by the id in them.
"""

from typing import Any, ClassVar, Generic, TypeVar, get_args

import msgspec

from parley.contracts import subjects

Reply = TypeVar("Reply")


class RpcError(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """A request was refused.

    Attributes:
        code: ``not_found`` | ``forbidden`` | ``conflict`` | ``invalid`` | ``too_many`` | ``unavailable`` | ``internal``
        retry_after: Seconds after which to try again, when that can help.
        reason: Which limit or rule refused it, where the code alone does not say; the code of the HTTP problem.
    """

    code: str
    message: str
    retry_after: float | None = None
    reason: str | None = None


class Request(msgspec.Struct, Generic[Reply], frozen=True, kw_only=True):
    """A request over core NATS, and the type of its reply."""

    @classmethod
    def subject(cls) -> str:
        """Return the subject that the request is sent to.

        Raises:
            TypeError: the subject names the recipient, so the sender builds it.
        """
        raise TypeError(f"the subject of {cls.__name__} depends on its recipient")

    @classmethod
    def reply_type(cls) -> Any:
        """Return the type, or union of types, of a reply that is no :class:`RpcError`."""
        (base,) = cls.__orig_bases__  # type: ignore[attr-defined]
        return get_args(base)[0]


class StoreRequest(Request[Reply], Generic[Reply], frozen=True, kw_only=True):
    """A request to chat-store."""

    VERB: ClassVar[str]

    @classmethod
    def subject(cls) -> str:
        return subjects.rpc_store(cls.VERB)


class ReplyBase(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A reply, named by its tag."""


class Done(ReplyBase, frozen=True, kw_only=True, tag="done"):
    """The request was carried out (or had been before)."""
