"""An environment with just what a service declares, made at once from what is installed here."""

from __future__ import annotations

import importlib.util
import subprocess
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path
from types import ModuleType

from packaging.requirements import Requirement

from tests.deploy.support.paths import DEPLOY, ROOT


def install_script() -> ModuleType:
    """``deploy/docker/install.py`` as a module."""
    spec = importlib.util.spec_from_file_location("install", DEPLOY / "docker" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class LeanEnvironment:
    """A virtual environment of links: the service, `shared`, and what they declare, with all that these need."""

    def __init__(self, folder: Path, project: str) -> None:
        script = install_script()
        self._python = folder / "bin" / "python"
        venv.create(folder, with_pip=False, symlinks=True)
        packages = next((folder / "lib").glob("python3.*")) / "site-packages"
        sources = script.closure(ROOT / project)
        needs = [Requirement(need) for source in sources for need in script.third_party(source)]
        for found in _with_all_needs(needs):
            _link(found, packages)
        for source in sources:
            for package in (source / "src").iterdir():
                if (package / "__init__.py").exists():
                    (packages / package.name).symlink_to(package)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run its Python with nothing of this environment."""
        return subprocess.run(
            [str(self._python), *arguments],
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def _with_all_needs(needs: list[Requirement]) -> list[Distribution]:
    found: dict[tuple[str, str], Distribution] = {}
    todo = [(need, "") for need in needs]
    while todo:
        need, extra = todo.pop()
        if need.marker is not None and not need.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *need.extras):
            if (need.name, wanted) in found:
                continue
            dist = found[need.name, wanted] = distribution(need.name)
            todo += [(Requirement(each), wanted) for each in dist.requires or []]
    return list({dist.name: dist for dist in found.values()}.values())


def _link(dist: Distribution, packages: Path) -> None:
    """Link each file of the distribution: several may share a namespace, such as ``opentelemetry``."""
    for file in dist.files or []:
        source = Path(str(dist.locate_file(file)))
        if ".." in file.parts or file.suffix == ".pyc" or not source.exists():
            continue
        target = packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
