"""Requests whose response may begin long after them, and what a proxy has to allow for."""

import json
from typing import Final

from gateway.http.requests import MAX_TURN_BODY_BYTES
from tests.deploy.support.paths import ROOT

LONGEST_ANSWER: Final = 600.0
"""Seconds that OpenAI's SDKs wait for an answer, unless a timeout is set."""

LARGEST_BODY: Final = MAX_TURN_BODY_BYTES

_OWN: Final = ("/v1/", "/healthz", "/readyz", "/metrics")


def delayed_paths() -> list[str]:
    """The paths of other clients' protocols: each of them streams, or sends an answer when it is complete."""
    paths = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    return [path.replace("{", "").replace("}", "") for path in paths if not path.startswith(_OWN)]
