"""Node.js, for tests with npm packages."""

import re
import shutil
import subprocess

from scripts.build_web import wheel_folder

_OLDEST = 22
"""The oldest version that the packages support."""


def _find_node() -> str:
    """Return the machine's Node.js if it is new enough, otherwise that of the Python package."""
    if (node := shutil.which("node")) is not None:
        shown = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
        version = re.match(r"v(\d+)", shown)
        if version is not None and int(version[1]) >= _OLDEST:
            return node
    return str(wheel_folder() / "bin" / "node")


NODE = _find_node()
