"""The schemas of tools' arguments, as providers accept them. No I/O.

OpenAI's API refuses a whole request for one tool whose schema it does not accept. A tool's server checks the arguments
of each call itself, so what is left out here is not lost.
"""

from typing import Any, Final

_COMBINATIONS: Final = ("allOf", "anyOf", "oneOf")
_REFUSED: Final = (*_COMBINATIONS, "enum", "not")
"""What may not be at the top of a schema."""

_VALUES: Final = ("const", "default", "enum", "examples")
"""Members that are no schemas."""

_TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")


def accepted(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of an object with ``properties`` whose arrays all have ``items``, without invalid members.

    Where the schema combines others, the properties of all of them are the object's.
    """
    found: dict[str, list[Any]] = {}
    for part in (schema, *(part for name in _COMBINATIONS for part in _list(schema.get(name)))):
        properties = part.get("properties") if isinstance(part, dict) else None
        for name, value in properties.items() if isinstance(properties, dict) else ():
            if isinstance(value, dict | bool) and value not in found.setdefault(name, []):
                found[name].append(value)
    merged = {name: values[0] if len(values) == 1 else {"anyOf": values} for name, values in found.items()}
    kept = {name: value for name, value in schema.items() if name not in _REFUSED}
    whole: dict[str, Any] = _mended({**kept, "type": "object", "properties": merged})
    return whole


def _mended(value: Any) -> Any:
    if isinstance(value, list):
        return [_mended(each) for each in value]
    if not isinstance(value, dict):
        return value
    schema = {name: each if name in _VALUES else _mended(each) for name, each in value.items() if _is_valid(name, each)}
    if "items" not in schema and (schema.get("type") == "array" or "array" in _list(schema.get("type"))):
        schema["items"] = {}
    return schema


def _is_valid(name: str, value: Any) -> bool:
    """Return whether a schema may have this member: no ``null`` for an absent one, no type such as ``int``."""
    if name == "type" and isinstance(value, str):
        return value in _TYPES
    return value is not None or name in _VALUES


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
