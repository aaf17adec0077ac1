"""The types of the TypeScript client are those of the contracts and of the OpenAPI document."""

from scripts import gen_typescript


def test_the_generated_types_are_those_of_the_contracts_and_of_the_openapi_document() -> None:
    for path, content in gen_typescript.generated().items():
        assert path.read_text(encoding="utf-8") == content, "run python scripts/gen_typescript.py"
