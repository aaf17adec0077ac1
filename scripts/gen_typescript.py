"""Generate the types of the TypeScript client: frames from the contracts, HTTP bodies from ``docs/openapi.json``.

``python scripts/gen_typescript.py`` writes the files; a test compares them with what they are generated from.
"""

import json
import re
import typing
from pathlib import Path
from typing import Any

import msgspec

from parley.contracts import frames

ROOT = Path(__file__).parents[1]
PROTOCOL = ROOT / "clients" / "typescript" / "src" / "protocol"

_FRAMES = """\
/**
 * The frames of the socket and their resources, generated from `parley.contracts` by `scripts/gen_typescript.py`:
 * change the contracts, not this file. {@link SCHEMAS} has the same content as the types, for `validate.ts`.
 */
"""
_BODIES = """\
/**
 * The bodies of the HTTP interface, generated from `docs/openapi.json` by `scripts/gen_typescript.py`: change the
 * gateway's routes, not this file.
 */
"""
_OMITTED = ("Page_", "Nothing", "Readiness")
"""Beginnings of the names of schemas that are no type here: pages are one generic type."""
_OPEN = frozenset({"status"})
"""Fields to which a later server may add values: a tab that is open across an upgrade shows the ones that it knows."""

_UNITS = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def generated() -> dict[Path, str]:
    """Return the generated files with their content."""
    return {PROTOCOL / "frames.ts": _frames(), PROTOCOL / "bodies.ts": _bodies()}


def _bodies() -> str:
    document = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    _, known = msgspec.json.schema_components([*typing.get_args(frames.ServerFrame)])
    own = _named_by([path for name, path in document["paths"].items() if name.startswith("/v1/")], document)
    schemas = {
        name: schema
        for name, schema in document["components"]["schemas"].items()
        if name in own and name not in known and not name.startswith(_OMITTED)
    }
    return "\n".join([_BODIES, *(_interface(name, schema, {}) for name, schema in sorted(schemas.items()))])


def _named_by(value: Any, document: dict[str, Any]) -> set[str]:
    """Return the names of the schemas that ``value`` refers to, directly or through others: not other protocols'."""
    named: set[str] = set()
    unread = [value]
    while unread:
        for kind, name in re.findall(r'"#/components/(\w+)/([^"]+)"', json.dumps(unread.pop())):
            if name not in named:
                named.add(name)
                unread.append(document["components"][kind][name])
    return named


def _frames() -> str:
    server = typing.get_args(frames.ServerFrame)
    client = typing.get_args(frames.ClientFrame)
    _, components = msgspec.json.schema_components([*server, *client])
    renamed = {cls.__name__: _frame_name(cls.__name__) for cls in (*server, *client)}
    parts = [_FRAMES]
    for name, schema in components.items():
        parts.append(_interface(renamed.get(name, name), schema, renamed))
    parts.append(_union("ServerFrame", [renamed[cls.__name__] for cls in server]))
    parts.append(_union("ClientFrame", [renamed[cls.__name__] for cls in client]))
    readable = [name for name in components if name not in {cls.__name__ for cls in client}]
    parts.append(_schemas({renamed.get(name, name): components[name] for name in readable}, renamed))
    by_type = {components[cls.__name__]["properties"]["type"]["enum"][0]: renamed[cls.__name__] for cls in server}
    entries = "".join(f'  {tag}: "{name}",\n' for tag, name in by_type.items())
    parts.append(
        "/** The schema of each frame of the server, by its `type`. */\n"
        f"export const SERVER_FRAMES = {{\n{entries}}} as const;\n"
    )
    return "\n".join(parts)


def _frame_name(name: str) -> str:
    return name if name.endswith("Frame") else f"{name}Frame"


def _interface(name: str, schema: dict[str, Any], renamed: dict[str, str]) -> str:
    summary, attributes = _described(schema.get("description", ""))
    lines = [f"/** {summary} */"] if summary else []
    lines.append(f"export interface {name} {{")
    for field, value in schema["properties"].items():
        if field in attributes:
            lines.append(f"  /** {attributes[field]} */")
        optional = "" if field in schema["required"] else "?"
        lines.append(f"  readonly {field}{optional}: {_type(value, renamed)};")
    return "\n".join([*lines, "}", ""])


def _described(docstring: str) -> tuple[str, dict[str, str]]:
    """Return the first sentence of a docstring and the descriptions of its attributes."""
    text, _, section = docstring.partition("Attributes:")
    summary = _plain(text.split("\n\n", 1)[0])
    attributes: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        match = re.match(r" {4,8}(\w+): (.*)", line)
        if match is not None:
            name = match[1]
            attributes[name] = match[2]
        elif name and line.strip():
            attributes[name] += f" {line.strip()}"
    return summary, {key: _plain(value) for key, value in attributes.items()}


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _reference(value: dict[str, Any], renamed: dict[str, str]) -> str:
    name: str = value["$ref"].rsplit("/", 1)[-1]
    return renamed.get(name, name)


def _type(value: dict[str, Any], renamed: dict[str, str]) -> str:
    if "$ref" in value:
        return _reference(value, renamed)
    if "anyOf" in value:
        return " | ".join(_type(option, renamed) for option in value["anyOf"])
    if "enum" in value:
        return " | ".join(json.dumps(option) for option in value["enum"])
    if value["type"] == "array":
        items = _type(value["items"], renamed)
        return f"readonly ({items})[]" if " | " in items else f"readonly {items}[]"
    return _UNITS[value["type"]]


def _schema(value: dict[str, Any], renamed: dict[str, str]) -> Any:
    """Return a schema for ``validate.ts``: a type's name, a list of alternatives, or an object with one key."""
    if "$ref" in value:
        return {"ref": _reference(value, renamed)}
    if "anyOf" in value:
        return [_schema(option, renamed) for option in value["anyOf"]]
    if "enum" in value:
        return {"enum": value["enum"]}
    if value["type"] == "array":
        return {"items": _schema(value["items"], renamed)}
    return value["type"]


def _schemas(components: dict[str, Any], renamed: dict[str, str]) -> str:
    schemas = {
        name: {
            "required": schema["required"],
            "fields": {
                field: "string" if field in _OPEN else _schema(value, renamed)
                for field, value in schema["properties"].items()
            },
        }
        for name, schema in components.items()
    }
    text = json.dumps(schemas, indent=2)
    text = re.sub(r'"([a-z_A-Z]+)":', r"\1:", text)
    return (
        "/** What each type allows; fields that are not listed are ignored. */\n"
        f"export const SCHEMAS = {text} as const;\n"
    )


def _union(name: str, members: list[str]) -> str:
    return f"export type {name} = {' | '.join(members)};\n"


if __name__ == "__main__":
    for path, content in generated().items():
        path.write_text(content, encoding="utf-8")
