"""The setting MODELS."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from parley.contracts.access.models import Price, allowance, parse
from parley.runtime.settings import ModelSettings

LIST = [{"name": "a", "price": {"input": 2, "output": 10}}, {"name": "b", "groups": ["staff"], "default": True}]


def settings(models: str) -> ModelSettings:
    return ModelSettings(nats_url="nats://unused", models=models)  # type: ignore[call-arg]


def test_the_list_is_json_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text(json.dumps(LIST))
    for given in (json.dumps(LIST), f"  {json.dumps(LIST)}", str(tmp_path / "models.json")):
        assert [model.name for model in settings(given).catalog.models] == ["a", "b"]


def test_without_the_setting_no_model_is_listed() -> None:
    assert not settings("").catalog


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("/nowhere/models.json", "neither JSON nor a file"),
        ("[{}]", "name"),
        ('[{"name": "a", "prize": 1}]', "prize"),
        ('[{"name": "a", "price": {"input": -1, "output": 1}}]', ">= 0"),
        ('[{"name": "a"}, {"name": "a"}]', "a is listed twice"),
        ('[{"name": "a", "roles": ["king"]}]', "king"),
        ("[", "malformed|truncated"),
        ("[]", "lists no model"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused_with_the_reason(given: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        settings(given)


def test_who_may_use_a_model_and_which_is_the_default() -> None:
    catalog = parse(json.dumps([*LIST, {"name": "c", "roles": ["administrator"]}]))
    assert [model.name for model in catalog.of_user((), "user")] == ["a"]
    assert [model.name for model in catalog.of_user(("staff", "x"), "administrator")] == ["a", "b", "c"]
    names = [catalog.default_of_user(groups, "user") for groups in ((), ("staff",))]
    assert [model and model.name for model in names] == ["a", "b"]


def test_the_price_of_an_answer_is_by_the_million() -> None:
    assert Price(input=2, output=10).of(500_000, 100_000) == pytest.approx(2.0)


@pytest.mark.parametrize(("groups", "wanted"), [((), 7), (("x",), 7), (("a",), 3), (("a", "b"), 9), (("b", "none"), 0)])
def test_the_budget_of_a_user_is_the_largest_of_the_groups(groups: tuple[str, ...], wanted: int) -> None:
    assert allowance(7, {"a": 3, "b": 9, "none": 0}, groups) == wanted
