"""The compose file as compose reads it: variables filled in, merges made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.deploy.support.paths import ROOT

FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$(\$|\{(?P<name>\w+)(?P<operator>:-|:\+|-)?(?P<word>[^}]*)\})")


def load(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the file with the variables of ``environment`` filled in."""
    known = environment or {}

    def value_of(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        value = known.get(match["name"])
        match match["operator"]:
            case ":-":
                return value or match["word"]
            case ":+":
                return match["word"] if value else ""
            case None:
                assert value is not None, f"{match['name']} has no default"
                return value
            case operator:
                raise AssertionError(f"not read here: {operator}")

    def fill_in(node: Any) -> Any:
        match node:
            case dict():
                return {key: fill_in(value) for key, value in node.items()}
            case list():
                return [fill_in(value) for value in node]
            case str():
                return _VARIABLE.sub(value_of, node)
        return node

    document: dict[str, Any] = fill_in(yaml.safe_load(FILE.read_text()))
    return document


def variables() -> set[str]:
    """Return the names of the variables that the file takes from outside."""
    return {match["name"] for match in _VARIABLE.finditer(FILE.read_text()) if match["name"]}


def environment_of(service: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in service.get("environment", {}).items()}
