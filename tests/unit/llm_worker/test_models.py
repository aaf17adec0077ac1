"""Which model a chat gets that names none."""

import pytest

from llm_worker.provider import failures
from llm_worker.errors import ProviderFailure
from llm_worker.provider.models import Models


class Listing:
    """A provider that lists models, and counts."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.asked = 0
        self.fails = False

    async def __call__(self) -> list[str]:
        self.asked += 1
        if self.fails:
            raise failures.unreachable("here", "down")
        return list(self.names)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_the_first_listed_is_the_default() -> None:
    models = Models(Listing("b", "a"), fixed_default=None)
    assert await models.default() == "b"
    assert (await models.list()).items == ["b", "a"]


async def test_a_set_default_needs_no_list() -> None:
    listing = Listing("a")
    assert await Models(listing, fixed_default="mine").default() == "mine"
    assert listing.asked == 0


async def test_the_list_is_remembered_for_a_minute() -> None:
    listing, clock = Listing("a"), Clock()
    models = Models(listing, fixed_default=None, clock=clock)
    await models.list()
    clock.now += 59
    await models.list()
    assert listing.asked == 1
    clock.now += 2
    await models.list()
    assert listing.asked == 2


async def test_a_failure_is_not_remembered() -> None:
    listing = Listing("a")
    models = Models(listing, fixed_default=None)
    listing.fails = True
    with pytest.raises(ProviderFailure):
        await models.default()
    listing.fails = False
    assert await models.default() == "a"


async def test_an_empty_list_has_no_default() -> None:
    with pytest.raises(ProviderFailure) as caught:
        await Models(Listing(), fixed_default=None).default()
    assert caught.value.code == "model_not_found"
