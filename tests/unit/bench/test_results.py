"""Numbers and tables of the benchmarks."""

import re
from pathlib import Path

import pytest

from parley_bench.__main__ import SCENARIOS
from parley_bench.scenario import Sample, Table
from parley_bench.statistics import Figure, percentile
from parley_bench.tables import console, markdown, write

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "benchmarks.md"


def table() -> Table:
    table = Table("Title", notes=["A note."])
    samples: list[Sample] = [
        {"p50": (1.0, "ms"), "CPU": (40, "µs")},
        {"p50": (3.0, "ms"), "CPU": (50, "µs")},
    ]
    table.add("10 answers", samples)
    table.add("20 answers", [{"p50": (0.1234, "ms")}])
    return table


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: float) -> None:
    assert percentile(list(range(1, 101)), share) == value


def test_one_value_is_every_percentile() -> None:
    assert percentile([7], 0.01) == percentile([7], 0.99) == 7


@pytest.mark.parametrize(
    ("values", "text"),
    [((2.5,), "2.50 ms"), ((3.0, 1.0, 2.0), "2.00 ms (1.00–3.00)"), ((1234.5,), "1,234 ms"), ((0.0,), "0 ms")],
)
def test_a_figure_is_the_median_and_its_spread(values: tuple[float, ...], text: str) -> None:
    assert str(Figure(values, "ms")) == text


def test_a_table_is_columns_or_markdown() -> None:
    assert console(table()).splitlines()[2:] == [
        "            p50                  CPU",
        "10 answers  2.00 ms (1.00–3.00)  45.0 µs (40.0–50.0)",
        "20 answers  0.123 ms",
        "  A note.",
    ]
    assert markdown(table()).splitlines() == [
        "|  | p50 | CPU |",
        "| --- | --- | --- |",
        "| 10 answers | 2.00 ms (1.00–3.00) | 45.0 µs (40.0–50.0) |",
        "| 20 answers | 0.123 ms |  |",
        "",
        "A note.",
    ]


def test_a_table_takes_its_place_in_the_document(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.md"
    file.write_text("before\n<!-- delay -->\nold\n<!-- /delay -->\nafter\n")
    write(file, "delay", table())
    write(file, "delay", table())
    text = file.read_text()
    assert text.startswith("before\n<!-- delay -->\n\n|")
    assert text.endswith("A note.\n\n<!-- /delay -->\nafter\n")
    assert "old" not in text
    assert text.count("10 answers") == 1
    with pytest.raises(ValueError, match="no place"):
        write(file, "fanout", table())


def test_the_document_has_a_place_for_each_scenario() -> None:
    assert set(re.findall(r"<!-- ([a-z-]+) -->", DOCUMENT.read_text())) == set(SCENARIOS)
