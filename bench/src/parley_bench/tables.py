"""Results for a terminal, and in a Markdown file."""

from __future__ import annotations

from pathlib import Path

from parley_bench.scenario import Table
from parley_cli import output


def console(table: Table) -> str:
    """The table in columns."""
    lines = ["", table.title, output.table(_cells(table))]
    lines += [f"  {note}" for note in table.notes]
    lines += [f"  WRONG: {failure}" for failure in table.failures]
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """The same as a Markdown table."""
    header, *rows = _cells(table)
    lines = [_row(header), _row(["---"] * len(header)), *(_row(row) for row in rows), ""]
    lines += table.notes
    lines += [f"**Wrong:** {failure}" for failure in table.failures]
    return "\n".join(lines).rstrip()


def write(file: Path, name: str, table: Table) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->`` in the file.

    Raises:
        ValueError: The file has no such place.
    """
    text = file.read_text()
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{file} has no place {begin} … {end}")
    file.write_text(f"{before}{begin}\n\n{markdown(table)}\n\n{end}{after}")


def _cells(table: Table) -> list[list[str]]:
    columns = list(dict.fromkeys(name for row in table.rows for name in row.figures))
    lines = [["", *columns]]
    for row in table.rows:
        lines.append([row.what, *(str(row.figures[name]) if name in row.figures else "" for name in columns)])
    return lines


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
