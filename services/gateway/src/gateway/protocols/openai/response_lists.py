"""Pages of items, in the form of OpenAI's API."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from fastapi import Depends, Query

from gateway.errors import NotFound
from gateway.protocols.openai.response_items import Item
from gateway.protocols.openai.responses_request import Include

Order = Literal["asc", "desc"]
After = Annotated[str | None, Query(max_length=256, description="`last_id` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=100)]


async def _includes(
    include: Annotated[list[Include] | None, Query()] = None,
    bracketed: Annotated[list[Include] | None, Query(alias="include[]", include_in_schema=False)] = None,
) -> None:
    """Check ``include``; its values are always included. The SDKs append brackets to the names of lists."""


Includes = Annotated[None, Depends(_includes)]


class ItemPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of items."""

    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


def item_page(items: Sequence[Item], after: str | None, limit: int) -> ItemPage:
    """Return the page of ``items`` after the item ``after``. Raises: NotFound: there is no such item."""
    first = 0
    if after is not None:
        first = next((index + 1 for index, item in enumerate(items) if item["id"] == after), 0)
        if not first:
            raise NotFound(f"There is no item {after!r}.", field="after")
    page = list(items[first : first + limit])
    return ItemPage(
        data=page,
        first_id=page[0]["id"] if page else None,
        last_id=page[-1]["id"] if page else None,
        has_more=first + limit < len(items),
    )
