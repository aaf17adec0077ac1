"""Each image's build, its very commands, run without Docker in an empty environment.

A build takes half a minute of CPU. So everywhere but in continuous integration it is the smallest image's only;
`test_dependencies.py` shows a missing dependency of any service at once.
"""

import os
from pathlib import Path

import pytest

from tests.deploy.support.image import Build

IMAGES = ["push", "gateway", "chat-store", "llm-worker", "tools"] if os.environ.get("CI") else ["push"]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return Build(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module", params=IMAGES)
def image(request: pytest.FixtureRequest, build: Build) -> str:
    name: str = request.param
    build.run(name)
    return name


@pytest.mark.timeout(600)
def test_a_service_says_what_setting_is_missing_and_the_tools_what_they_can(build: Build, image: str) -> None:
    arguments = ["--help"] if image == "tools" else []
    process = build.start(image, [*build.entry_point(image), *arguments])
    output, _ = process.communicate(timeout=60)
    assert ("demo-model" if image == "tools" else "NATS_URL") in output
    assert (process.returncode == 0) == (image == "tools")
    assert "Traceback" not in output


@pytest.mark.timeout(600)
def test_every_module_is_compiled(build: Build, image: str) -> None:
    packages = _packages(build, image)
    sources = [
        path for path in packages.rglob("*.py") if path.parts[len(packages.parts)] in ("parley", "pydantic", "nats")
    ]
    assert len(sources) > 100
    for source in sources:
        assert list((source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc")), source


@pytest.mark.timeout(600)
def test_what_builds_and_the_source_tree_are_not_there(build: Build, image: str) -> None:
    names = {path.name for path in _packages(build, image).iterdir()}
    assert not {name for name in names if name.endswith(".pth")}
    assert not names & {"pip", "hatchling", "pytest", "mypy", "kubernetes_validate"}
    assert {"parley", "parley_shared-0.1.0.dist-info"} <= names
    if image != "tools":
        assert len(names & {"gateway", "chat_store", "llm_worker", "push", "parley_cli"}) == 1


def _packages(build: Build, image: str) -> Path:
    return next((build.prefix(image) / "lib").glob("python3.*")) / "site-packages"
