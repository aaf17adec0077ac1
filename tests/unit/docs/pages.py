"""Reading the documentation: its sections, tables and examples."""

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"
PROTOCOL = (DOCS / "protocol.md").read_text()
OPEN_PROTOCOLS = (DOCS / "open-protocols.md").read_text()

_EXAMPLE = re.compile(r"^```json (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A block of JSON, fenced as "json <module>.<struct>"."""

    struct: str
    text: str

    def __str__(self) -> str:
        return self.struct


def examples() -> list[Example]:
    return [Example(match[1], match[2]) for match in _EXAMPLE.finditer(PROTOCOL)]


def headings(level: int, page: str = PROTOCOL) -> list[str]:
    return re.findall(rf"^{'#' * level} (.+)$", page, re.MULTILINE)


def section(heading: str) -> str:
    """The text below a heading, to the next one of the same level or a higher one."""
    match = re.search(rf"^(#+) {re.escape(heading)}$", PROTOCOL, re.MULTILINE)
    assert match is not None, f"there is no heading {heading!r}"
    rest = PROTOCOL[match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def table(text: str, first_column: str) -> list[list[str]]:
    """The rows of the table whose first column has this name, without marks of code."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split(" | ")])
    return rows
