"""What npm runs where Node.js comes from a Python package."""

import json

from tests.deploy.support.paths import ROOT


def test_no_script_of_the_workspace_calls_npm() -> None:
    """The package's own ``npm``, which a script would find first, is a link unpacked as a file and does not start."""
    scripts: dict[str, str] = json.loads((ROOT / "package.json").read_text())["scripts"]
    assert not [name for name, command in scripts.items() if "npm" in command.split()]
