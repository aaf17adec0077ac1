"""``make dev``: which services a change restarts."""

from pathlib import Path

import pytest
from scripts.build_web import ROOT
from scripts.dev import affected_services, options_of


@pytest.mark.parametrize(
    ("paths", "services"),
    [
        (["services/push/src/push/app.py"], ["push"]),
        (["services/push/src/push/app.py", "services/gateway/src/gateway/app.py"], ["push", "gateway"]),
        (["shared/src/parley/contracts/ids.py"], ["chat-store", "llm-worker", "push", "gateway"]),
    ],
)
def test_a_change_restarts_the_services_that_use_the_file(paths: list[str], services: list[str]) -> None:
    assert affected_services([ROOT / path for path in paths]) == services


def test_the_ports_and_the_folder_can_be_chosen(tmp_path: Path) -> None:
    options = options_of(["--port", "18000", "--push-port", "18001", "--data", str(tmp_path)])
    assert (options.port, options.push_port, options.folder) == (18000, 18001, tmp_path)
    assert (options_of([]).port, options_of([]).push_port) == (8000, 8001)


def test_an_argument_that_it_does_not_know_is_refused() -> None:
    with pytest.raises(SystemExit):
        options_of(["--prot", "18000"])
