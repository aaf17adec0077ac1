"""docs/asyncapi.json is generated from the code, and consistent."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from scripts import gen_asyncapi

from parley.contracts import rpc, subjects
from tests.unit.docs.pages import Example, examples

DOCUMENT = json.loads(gen_asyncapi.encoded())


def test_the_file_is_generated_from_the_code() -> None:
    assert gen_asyncapi.FILE.read_bytes() == gen_asyncapi.encoded(), "run python scripts/gen_asyncapi.py"


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            elif key != "mapping":
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_resolves() -> None:
    for reference in references(DOCUMENT):
        node = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]


def test_every_subject_is_a_channel() -> None:
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    assert set(subjects.TEMPLATES.values()) - {subjects.TEMPLATES["rpc_store"]} <= addresses
    assert {subjects.rpc_store(verb) for verb in rpc.STORE_REQUESTS} <= addresses


def test_every_channel_has_an_operation() -> None:
    operations = DOCUMENT["operations"].values()
    used = {operation["channel"]["$ref"] for operation in operations}
    used |= {operation["reply"]["channel"]["$ref"] for operation in operations if "reply" in operation}
    assert used == {f"#/channels/{name}" for name in DOCUMENT["channels"]}


def test_every_request_has_a_sender_and_a_receiver() -> None:
    for name in DOCUMENT["channels"]:
        if name.startswith("rpc_") and not name.endswith("_reply"):
            actions = [
                operation["action"]
                for operation in DOCUMENT["operations"].values()
                if operation["channel"]["$ref"] == f"#/channels/{name}"
            ]
            assert {"send", "receive"} == set(actions), name


@pytest.mark.parametrize(
    "example",
    [example for example in examples() if example.struct.split(".")[0] in ("events", "frames", "live", "rpc")],
    ids=str,
)
def test_the_examples_of_the_protocol_validate_against_its_schemas(example: Example) -> None:
    name = example.struct.partition(".")[2]
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    jsonschema.validate(json.loads(example.text), schema)
