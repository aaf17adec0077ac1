"""docs/openapi.json is what the gateway's routes say, and valid."""

import json
import re
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate
from scripts import gen_openapi

from tests.unit.docs.pages import OPEN_PROTOCOLS, Example, examples, headings

DOCUMENT: dict[str, Any] = json.loads(gen_openapi.encoded())
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}


def test_the_file_is_what_the_code_says() -> None:
    assert gen_openapi.FILE.read_bytes() == gen_openapi.encoded(), "run python scripts/gen_openapi.py"


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)


def test_every_route_of_the_protocols_is_an_operation_with_its_status() -> None:
    documented = {
        (f"{match[1]} {match[2]}", match[3])
        for heading in (*headings(3), *headings(3, OPEN_PROTOCOLS))
        if (match := re.fullmatch(r"`([A-Z]+) (/\S*)` → (\d+)", heading))
    }
    succeeding = {
        (name, status)
        for name, operation in OPERATIONS.items()
        for status in operation["responses"]
        if status[0] in "23"
    }
    assert succeeding == documented


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_response_with_a_body_has_a_schema(name: str) -> None:
    for status, response in OPERATIONS[name]["responses"].items():
        if "$ref" in response:
            response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
        if status not in ("204", "303"):
            assert all("schema" in content for content in response["content"].values()), status


@pytest.mark.parametrize(
    "example",
    [example for example in examples() if re.match(r"(bodies|resources|problems)\.", example.struct)],
    ids=str,
)
def test_the_examples_of_the_protocol_are_of_its_schemas(example: Example) -> None:
    name = re.sub(r"\[\w+\.(\w+)\]", r"_\1_", example.struct).partition(".")[2]
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    jsonschema.validate(json.loads(example.text), schema)
