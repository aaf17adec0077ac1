"""What the parts of the fake have in common."""

from collections.abc import Callable
from typing import Any

from parley.contracts import rpc

Reply = Any
"""The reply type of a request, or an ``RpcError``."""


class Part:
    """Replies to the requests for which it has a method, named as the request's verb with an underscore before it."""

    def reply(self, request: rpc.StoreRequest[Any]) -> Reply | None:
        """Return the reply; None: another part has it."""
        handler: Callable[[Any], Reply] | None = getattr(self, f"_{request.VERB}", None)
        return None if handler is None else handler(request)


def not_found(what: str = "chat") -> rpc.RpcError:
    return rpc.RpcError(code="not_found", message=f"There is no such {what}.")
