"""Parley's own options in requests of other protocols: in headers, or in the metadata of the request. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from gateway.errors import Invalid, NotFound
from parley.contracts.completion import WhenBusy
from parley.contracts.ids import derived_id, is_derived, is_id, new_id

WHEN_BUSY_HEADER: Final = "parley-when-busy"
IDEMPOTENCY_HEADER: Final = "idempotency-key"

_MAX_KEY: Final = 255
_PREFIX: Final = "parley."
_NAMES: Final = ("chat_id", "when_busy", "detach")


def check_new_chat(chat_id: str, name: str) -> None:
    """Check that a client may begin a chat that it calls ``name``: by a name, or by an id that is derived for nobody.

    Raises:
        NotFound
    """
    if name == chat_id and is_derived(chat_id):
        raise NotFound("There is no such chat.")


@dataclass(frozen=True, kw_only=True)
class TurnIds:
    """The ids of a turn; ``chat_id`` is used where the turn begins a chat.

    Attributes:
        from_key: The same request again is the same turn.
    """

    chat_id: str
    message_id: str
    answer_id: str
    from_key: bool = False

    @classmethod
    def of(cls, user_id: str, headers: Mapping[str, str]) -> "TurnIds":
        """Return ids that follow from the user and the ``Idempotency-Key``, so that the same request again is the same
        turn; without one, new ids. Raises Invalid."""
        key = headers.get(IDEMPOTENCY_HEADER)
        if not key:
            return cls(chat_id=new_id(), message_id=new_id(), answer_id=new_id())
        if len(key) > _MAX_KEY:
            raise Invalid(f"Idempotency-Key is longer than {_MAX_KEY} characters.")
        return cls(
            chat_id=derived_id(user_id, "chat", key),
            message_id=derived_id(user_id, "prompt", key),
            answer_id=derived_id(user_id, "answer", key),
            from_key=True,
        )


@dataclass(frozen=True, kw_only=True)
class Options:
    """Parley's options of a request.

    Attributes:
        chat_id: The chat that the turn belongs to; None: a new one.
        detach: The answer continues when the client disconnects.
        metadata: The rest of the request's metadata: the client's own.
    """

    chat_id: str | None = None
    when_busy: WhenBusy = "enqueue"
    detach: bool = False
    metadata: dict[str, str]

    @classmethod
    def of(cls, headers: Mapping[str, str], metadata: Mapping[str, Any] | None) -> "Options":
        """Read the options from ``parley.chat_id`` and the like, or ``{"parley": {"chat_id": …}}``. Raises Invalid."""
        own: dict[str, str] = {}
        asked: dict[str, Any] = {}
        for name, value in (metadata or {}).items():
            if name == "parley" and isinstance(value, dict):
                asked |= value
            elif name.startswith(_PREFIX):
                asked[name.removeprefix(_PREFIX)] = value
            elif isinstance(value, str):
                own[name] = value
            else:
                raise Invalid("A value of metadata must be a string.", field=f"metadata.{name}")
        for name in asked:
            if name not in _NAMES:
                raise Invalid(
                    f"There is no option {_PREFIX}{name}. The options are {', '.join(_NAMES)}.",
                    code="unknown_parameter",
                    field=f"metadata.{_PREFIX}{name}",
                )
        return cls(
            chat_id=_chat_id(asked.get("chat_id")),
            when_busy=_when_busy(headers.get(WHEN_BUSY_HEADER) or asked.get("when_busy") or "enqueue"),
            detach=_flag(asked.get("detach", False)),
            metadata=own,
        )


def _chat_id(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and is_id(value)):
        raise Invalid("parley.chat_id must be a chat's id.", field="metadata.parley.chat_id")
    return value


def _when_busy(value: Any) -> WhenBusy:
    modes: tuple[WhenBusy, ...] = get_args(WhenBusy)
    for mode in modes:
        if mode == value:
            return mode
    raise Invalid(f"Parley-When-Busy must be one of {', '.join(modes)}.", field="metadata.parley.when_busy")


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise Invalid("parley.detach must be true or false.", field="metadata.parley.detach")
