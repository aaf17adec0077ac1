"""``make dev``: which services a change restarts."""

import pytest
from scripts.build_web import ROOT
from scripts.dev import affected_services


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
