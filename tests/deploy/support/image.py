"""An image without Docker: its build stage's commands, run in a folder laid out like the build's file system."""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from pathlib import Path

from tests.deploy.support import dockerfile
from tests.deploy.support.dockerfile import Copy, Stage
from tests.deploy.support.paths import ROOT

_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info", "node_modules", "dist", "tests")


class Build:
    """Carries out the build stage of an image; what several stand on runs once.

    ``python`` is that of an empty virtual environment with the version that runs the tests. Each image has a file
    system of its own below ``root``: its ``/src`` and ``/opt/parley``.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        _, self._stages = dockerfile.read(ROOT / "Dockerfile")
        self._done: set[str] = set()
        venv.create(root / "base", with_pip=True, symlinks=True)

    def prefix(self, image: str) -> Path:
        """Where the image's ``/opt/parley`` is."""
        return self._root / image / "opt" / "parley"

    def environment(self, stage: str, image: str) -> dict[str, str]:
        """The stage's environment, moved below ``root``."""
        declared = dockerfile.environment(self._stages, stage)
        places = {
            "/opt/parley": str(self.prefix(image)),
            "/opt/build": str(self._root / "opt" / "build"),
            "/usr/local/bin": str(self._root / "base" / "bin"),
        }
        moved = {}
        for key, value in {"PATH": "/usr/local/bin:/usr/bin:/bin", **declared}.items():
            for place, ours in places.items():
                value = value.replace(place, ours)
            moved[key] = value
        return moved

    def run(self, image: str) -> None:
        """Build what the image takes from its build stage."""
        work = self._root / image / "src"
        work.mkdir(parents=True)
        for stage in dockerfile.lineage(self._stages, f"{image}-build"):
            for instruction in stage.instructions:
                if instruction.name == "COPY":
                    for copy in dockerfile.copies(Stage("", "", None, [instruction])):
                        assert copy.stage is None, instruction
                        _copy(copy, work)
                elif instruction.name == "RUN" and stage.name not in self._done:
                    self._shell(stage, image, instruction.value, work)
            if stage.name != f"{image}-build":
                self._done.add(stage.name)

    def _shell(self, stage: Stage, image: str, run: str, work: Path) -> None:
        kept = {key: value for key, value in os.environ.items() if key == "HOME" or key.startswith("PIP_")}
        result = subprocess.run(
            ["/bin/sh", "-c", dockerfile.shell_of(run)],
            cwd=work,
            env=kept | self.environment(stage.name, image),
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        assert result.returncode == 0, f"{run}\n{result.stdout}\n{result.stderr}"

    def start(self, image: str, command: list[str], **settings: str) -> subprocess.Popen[str]:
        """Start ``command`` with the image's Python, in an environment that knows nothing of this one."""
        return subprocess.Popen(
            [str(self.prefix(image) / "bin" / command[0]), *command[1:]],
            cwd="/",
            env=self.environment(image, image) | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def entry_point(self, image: str) -> list[str]:
        (value,) = self._stages[image].of("ENTRYPOINT")
        return dockerfile.exec_form(value)


def _copy(copy: Copy, work: Path) -> None:
    for name in copy.sources:
        source, target = ROOT / name, work / copy.target
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=_IGNORED)
        else:
            target = target / source.name if copy.target.endswith("/") else target
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
