"""The models that an operator allows (the setting ``MODELS``): their prices and budgets, and who may use them."""

from collections.abc import Collection
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from parley.contracts.access.identity import UserRole
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.limits import MAX_MODEL_LENGTH

_PER_MILLION: Final = 1_000_000

Name = Annotated[str, Meta(min_length=1, max_length=MAX_MODEL_LENGTH)]
NotNegative = Annotated[float, Meta(ge=0)]


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price of a million tokens, in a currency of the operator's choice."""

    input: NotNegative
    output: NotNegative

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """Return the price of one answer."""
        return (self.input * input_tokens + self.output * output_tokens) / _PER_MILLION


class AllowedModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of ``MODELS``.

    Attributes:
        name: The provider's name for it.
        default: Whether a chat that names no model gets it.
        groups, roles: Who may use it: members of one of the groups, users of one of the roles; both empty: everybody.
        tokens_per_day: Of each user with this model; 0: no limit.
        tokens_per_day_of_groups: Instead of ``tokens_per_day`` for members of a group; the largest one counts.
    """

    name: Name
    display_name: str | None = None
    default: bool = False
    context_tokens: Annotated[int, Meta(ge=1)] | None = None
    price: Price | None = None
    groups: tuple[str, ...] = ()
    roles: tuple[UserRole, ...] = ()
    tokens_per_day: Annotated[int, Meta(ge=0)] = 0
    tokens_per_day_of_groups: dict[str, Annotated[int, Meta(ge=0)]] = {}

    def is_for(self, groups: Collection[str], role: str) -> bool:
        """Return whether a user with these groups and this role may use it."""
        if not self.groups and not self.roles:
            return True
        return role in self.roles or not set(self.groups).isdisjoint(groups)


class ModelCatalog(msgspec.Struct, frozen=True):
    """The models of ``MODELS``; empty: whatever the provider offers, for everybody."""

    models: tuple[AllowedModel, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.models)

    def get(self, name: str) -> AllowedModel | None:
        """Return the model of this name, if it is allowed to anybody."""
        return next((model for model in self.models if model.name == name), None)

    def of_user(self, groups: Collection[str], role: str) -> list[AllowedModel]:
        """Return the models that the user may use, in the order of the setting."""
        return [model for model in self.models if model.is_for(groups, role)]

    def default_of_user(self, groups: Collection[str], role: str) -> AllowedModel | None:
        """Return the user's default: the first that is marked, else the first."""
        usable = self.of_user(groups, role)
        return next((model for model in usable if model.default), usable[0] if usable else None)


def allowance(default: int, of_groups: dict[str, int], groups: Collection[str]) -> int:
    """Return the budget of a user: the largest of the user's groups, else ``default``; 0: no limit."""
    own = [of_groups[group] for group in groups if group in of_groups]
    if not own:
        return default
    return 0 if 0 in own else max(own)


def parse(text: str | bytes) -> ModelCatalog:
    """Read the JSON of ``MODELS``: a list of :class:`AllowedModel`.

    Raises:
        ValueError: it is not such a list, is empty, or names a model twice.
    """
    try:
        models = msgspec.json.decode(text, type=tuple[AllowedModel, ...])
    except UNDECODABLE as error:
        raise ValueError(str(error)) from error
    if not models:
        raise ValueError("lists no model; unset it for all that the provider offers")
    names = [model.name for model in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is listed twice")
    return ModelCatalog(models)
