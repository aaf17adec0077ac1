"""The default model, and the models that a chat may name."""

import asyncio
import logging

import pytest

from llm_worker.errors import ProviderError
from llm_worker.provider import error_templates
from llm_worker.provider.models import Models, parse_names


class Listing:
    """A provider that lists models, and counts how often it is asked."""

    def __init__(self, *listed: str, has_list: bool = True) -> None:
        self.listed = list(listed)
        self.has_list = has_list
        self.asked = 0
        self.failure: ProviderError | None = None

    async def __call__(self) -> list[str] | None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return list(self.listed) if self.has_list else None


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


DOWN = error_templates.UNREACHABLE.error("down")


async def refused(models: Models, name: str | None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await models.resolve(name)
    return caught.value


async def test_the_first_of_many_is_the_default_only_with_a_word_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    models = Models(Listing("b", "a"), chosen=None)
    with caplog.at_level(logging.WARNING):
        await models.load()
    assert "MODEL is not set: a chat that names no model gets 'b', the first of 2" in caplog.text
    assert await models.resolve(None) == "b"


async def test_the_only_model_is_the_default_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    models = Models(Listing("only"), chosen=None)
    with caplog.at_level(logging.WARNING):
        await models.load()
    assert await models.resolve(None) == "only"
    assert not caplog.text


async def test_a_model_that_is_set_needs_no_list() -> None:
    for listing in (Listing("a"), Listing(has_list=False)):
        models = Models(listing, chosen="mine")
        assert await models.resolve(None) == await models.resolve("mine") == "mine"
        assert listing.asked == 0
        assert (await models.list()).items == ["mine", *listing.listed]
        assert (await models.list()).default == "mine"


async def test_a_model_that_is_set_is_offered_while_the_provider_is_away() -> None:
    listing = Listing()
    listing.failure = DOWN
    assert (await Models(listing, chosen="mine").list()).items == ["mine"]


async def test_the_list_is_remembered_for_a_minute() -> None:
    listing, clock = Listing("a"), Clock()
    models = Models(listing, chosen=None, clock=clock)
    await models.list()
    clock.now += 59
    await models.list()
    assert listing.asked == 1
    clock.now += 2
    await models.list()
    assert listing.asked == 2


async def test_those_who_wait_share_one_request_and_its_failure() -> None:
    listing = Listing("a")
    listing.failure = DOWN
    models = Models(listing, chosen=None)
    results = await asyncio.gather(*(models.list() for _ in range(50)), return_exceptions=True)
    assert results == [DOWN] * 50
    assert listing.asked == 1


async def test_a_failed_list_is_requested_again_but_not_at_once(caplog: pytest.LogCaptureFixture) -> None:
    listing, clock = Listing("a"), Clock()
    listing.failure = DOWN
    models = Models(listing, chosen=None, clock=clock)
    assert await refused(models, None) is DOWN
    listing.failure = None
    assert await refused(models, None) is DOWN
    clock.now += 6
    assert await models.resolve(None) == "a"
    assert listing.asked == 2


async def test_an_old_list_is_better_than_none() -> None:
    listing, clock = Listing("a"), Clock()
    models = Models(listing, chosen=None, clock=clock)
    await models.list()
    listing.failure = DOWN
    clock.now += 100
    assert (await models.list()).items == ["a"]
    assert await models.resolve("a") == "a"


async def test_a_provider_without_a_list_has_no_default() -> None:
    failure = await refused(Models(Listing(has_list=False), chosen=None), None)
    assert (failure.code, failure.retryable) == ("model_not_found", False)
    assert "MODEL" not in failure.message
    assert "MODEL" in failure.advice


async def test_only_listed_models_are_requested() -> None:
    models = Models(Listing("a", "b"), chosen="mine")
    assert [await models.resolve(name) for name in ("a", "b", "mine")] == ["a", "b", "mine"]
    for name in ("c", "../../admin", "a\n", "", " ", "x" * 10_000):
        failure = await refused(models, name)
        assert (failure.code, failure.transient, failure.retryable) == ("model_not_found", False, False)
        assert len(failure.message) < 300


async def test_a_model_that_is_new_at_the_provider_is_found() -> None:
    listing, clock = Listing("a"), Clock()
    models = Models(listing, chosen=None, clock=clock)
    await models.list()
    listing.listed.append("new")
    assert (await refused(models, "new")).code == "model_not_found"
    clock.now += 6
    assert await models.resolve("new") == "new"


async def test_a_list_that_cannot_be_had_is_not_the_readers_fault() -> None:
    listing = Listing("a")
    listing.failure = DOWN
    assert await refused(Models(listing, chosen=None), "a") is DOWN


async def test_a_setting_opens_all_models_but_no_control_characters() -> None:
    listing = Listing()
    models = Models(listing, chosen=None, unlisted=True)
    assert await models.resolve("anything/at:all") == "anything/at:all"
    assert listing.asked == 0
    for name in ("a\x00b", "a\nb", "\x7f", "\u202e"):
        assert (await refused(models, name)).code == "model_not_found"


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "b"}]}', ["a", "b"]),
        (b'[{"id": "a"}, {"id": "b"}]', ["a", "b"]),
        (b'["a", "b", "a"]', ["a", "b"]),
        (b'{"models": [{"name": "a"}, {"model": "b"}]}', ["a", "b"]),
        (b'{"data": [{"id": 7}, {}, null, {"id": "a", "created": NaN}, {"id": "no\\nname"}, {"id": ""}]}', ["a"]),
        (b'{"data": null}', []),
        (b"[]", []),
    ],
)
def test_a_list_is_read_in_each_of_its_forms(body: bytes, wanted: list[str]) -> None:
    assert parse_names(body) == wanted


@pytest.mark.parametrize("body", [b"<html>", b'{"data": 7}', b"", b'"a"', b"{}"])
def test_what_is_no_list_is_not_understood(body: bytes) -> None:
    with pytest.raises(ProviderError) as caught:
        parse_names(body)
    assert caught.value.code == "provider_error"
