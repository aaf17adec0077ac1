"""The rules that our images keep."""

import fnmatch
import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.deploy.support import dockerfile
from tests.deploy.support.paths import ROOT

FILE = ROOT / "Dockerfile"
ARGUMENTS, STAGES = dockerfile.read(FILE)
SERVICES = {"gateway": "gateway", "chat-store": "chat_store", "llm-worker": "llm_worker", "push": "push"}
IMAGES = [*SERVICES, "tools"]


def test_the_linter_has_nothing_to_say() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    result = subprocess.run([hadolint, "--no-color", FILE], capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("image", ARGUMENTS.values())
def test_a_base_is_pinned_by_a_tag_that_says_its_version(image: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:(\d+(\.\d+)?-[a-z-]+|v?\d+\.\d+\.\d+)", image)


def test_every_base_is_an_argument_or_a_stage_of_ours() -> None:
    for stage in STAGES.values():
        assert stage.base in STAGES or stage.base in {f"${{{name}}}" for name in ARGUMENTS}, stage.name


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_nobody_in_particular(image: str) -> None:
    users = [user for stage in dockerfile.lineage(STAGES, image) for user in stage.of("USER")]
    assert users[-1] == "10001:10001"


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_what_was_built_for_it_and_no_source(image: str) -> None:
    taken = [copy for stage in dockerfile.lineage(STAGES, image) for copy in dockerfile.copies(stage)]
    if image != "tools":
        assert taken.pop(0).sources == ("deploy/docker/health.py",)
    assert {copy.stage for copy in taken} == {f"{image}-build"} | ({"web"} if image == "gateway" else set())


@pytest.mark.parametrize(("service", "package"), SERVICES.items())
def test_a_service_is_built_from_itself_and_shared(service: str, package: str) -> None:
    lines = dockerfile.lineage(STAGES, f"{service}-build")
    sources = {source for stage in lines for copy in dockerfile.copies(stage) for source in copy.sources}
    assert sources == {
        "requirements.lock",
        "deploy/docker/install.py",
        "shared/pyproject.toml",
        "shared/",
        f"services/{service}/pyproject.toml",
        f"services/{service}/",
    }
    (entry,) = STAGES[service].of("ENTRYPOINT")
    assert dockerfile.exec_form(entry) == ["python", "-m", package]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_says_what_it_is(image: str) -> None:
    labels = " ".join(value for stage in dockerfile.lineage(STAGES, image) for value in stage.of("LABEL"))
    for label in ("title", "description", "version", "revision", "licenses", "vendor"):
        assert f"org.opencontainers.image.{label}=" in labels


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_looked_at_without_curl(service: str) -> None:
    checks = [check for stage in dockerfile.lineage(STAGES, service) for check in stage.of("HEALTHCHECK")]
    assert "/healthz" in checks[-1]
    assert dockerfile.exec_form(checks[-1].partition(" CMD ")[2])[0] == "python"


def test_nothing_is_built_for_one_platform_only() -> None:
    # The page is the same everywhere; all else is built on the platform that it is for.
    assert {stage.name: stage.platform for stage in STAGES.values() if stage.platform} == {"web": "$BUILDPLATFORM"}


def test_no_cache_of_a_package_manager_stays_in_a_layer() -> None:
    for stage in STAGES.values():
        for run in stage.of("RUN"):
            if " npm ci" in run or "install.py dependencies" in run or "install.py tools" in run:
                assert run.startswith("--mount=type=cache,"), run


def test_a_file_that_the_lock_does_not_name_ends_the_build() -> None:
    spec = importlib.util.spec_from_file_location("install", ROOT / "deploy" / "docker" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    install = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(install)
    entries = install.read_lock(
        "Some_Thing==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nother==2.0 \\\n    --hash=sha256:cc\n"
    )

    def installed(name: str, sha256: str) -> dict[str, object]:
        return {"metadata": {"name": name}, "download_info": {"archive_info": {"hashes": {"sha256": sha256}}}}

    install.check([installed("some-thing", "bb"), installed("other", "cc")], entries)
    for wrong in (installed("some-thing", "cc"), installed("unknown", "aa")):
        with pytest.raises(SystemExit):
            install.check([wrong], entries)


def test_the_builder_is_given_what_is_copied_and_no_more() -> None:
    first, *rest = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert first == "*"
    given = {line[1:] for line in rest if line.startswith("!")}
    copied = {
        source
        for stage in STAGES.values()
        for copy in dockerfile.copies(stage)
        if copy.stage is None
        for source in copy.sources
    }
    for source in copied:
        assert any(path == source or path.startswith(source) or _covers(path, source) for path in given), source
    for path in given:
        assert any(path == source or path.startswith(source) or _covers(path, source) for source in copied), path


def _covers(pattern: str, path: str) -> bool:
    """Whether what ``services/*/src`` lets through is below ``services/gateway/``, or the other way round."""
    names = zip(pattern.rstrip("/").split("/"), path.rstrip("/").split("/"), strict=False)
    return all(fnmatch.fnmatch(name, glob) or fnmatch.fnmatch(glob, name) for glob, name in names)


def test_the_image_of_the_demo_model_has_all_that_it_imports_of_ours(tmp_path: Path) -> None:
    for copy in dockerfile.copies(STAGES["demo-model"]):
        if copy.stage is not None:
            continue
        target = tmp_path / copy.target.removeprefix("/opt/tools/")
        for source in copy.sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, target)
    program = "import sys; import parley_cli; assert parley_cli.__path__ == [sys.argv[1]]; "
    program += "import runpy; sys.argv[1:] = ['--help']; runpy.run_module('parley_cli.demo_model', run_name='__main__')"
    # The installation's own parley_cli comes after this one.
    environment = {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", program, str(tmp_path / "parley_cli")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
