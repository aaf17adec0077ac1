"""One installation from a clean clone, which the tests use in turn as its operator would."""

from collections.abc import Iterator

import pytest

from tests.compose.figures import FIGURES
from tests.compose.installation import Installation, engine_problem


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    if problem := engine_problem():
        pytest.skip(problem)
    with Installation(tmp_path_factory.mktemp("compose")) as installation:
        yield installation


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("figures of compose")
        for name, value in FIGURES.items():
            terminalreporter.write_line(f"{name}: {value}")
