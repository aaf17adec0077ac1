"""What make_secrets.py makes: random, kept, and to each part only its own."""

import importlib.util
import json
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from parley.contracts.access.permissions import USERS
from tests.deploy.support.paths import DEPLOY

SCRIPT = DEPLOY / "secrets" / "make_secrets.py"
FILES = {
    "chat-store": {"database_url", "nats_url"},
    "gateway": {"nats_url", "secret_key"},
    "llm-worker": {"nats_url"},
    "migrate": {"database_url", "nats_url"},
    "nats": {"authorization.conf"},
    "operator": {"database_url", "nats_url"},
    "postgres": {"migrate_password", "postgres_password", "service_password"},
    "push": {"nats_url", "secret_key"},
}


@pytest.fixture
def make_secrets(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "COMPOSE_PROFILES", "SECRET_KEY", "SECRET_KEYS"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("make_secrets", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _written(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_secrets_are_random_and_stay(make_secrets: ModuleType, tmp_path: Path) -> None:
    make_secrets.write(tmp_path)
    first = _written(tmp_path)
    make_secrets.write(tmp_path)
    assert _written(tmp_path) == first
    secrets = json.loads(first["all/secrets.json"])
    assert len(set(secrets.values())) == len(secrets) == 4 + len(USERS)
    assert all(len(secret) >= 32 for secret in secrets.values())


def test_a_key_that_is_too_short_does_not_stay(make_secrets: ModuleType, tmp_path: Path) -> None:
    make_secrets.write(tmp_path)
    store = tmp_path / "all" / "secrets.json"
    known = json.loads(store.read_text())
    store.write_text(json.dumps(known | {"SECRET_KEY": "short"}))
    make_secrets.write(tmp_path)
    assert json.loads(store.read_text()) | {"SECRET_KEY": ""} == known | {"SECRET_KEY": ""}
    assert len((tmp_path / "gateway" / "secret_key").read_text()) >= 32


def test_files_are_replaced_as_a_whole_and_those_of_earlier_versions_go(
    make_secrets: ModuleType, tmp_path: Path
) -> None:
    make_secrets.write(tmp_path)
    (tmp_path / "gateway" / "demo").write_text("true")
    key = tmp_path / "push" / "secret_key"
    (tmp_path / "all" / "secrets.json").unlink()
    before = key.stat()
    make_secrets.write(tmp_path)
    assert not (tmp_path / "gateway" / "demo").exists()
    # A root without capabilities may not write to a file of its own that is read-only: it is another file now.
    assert key.stat().st_ino != before.st_ino
    assert key.stat().st_mode & 0o777 == 0o444
    assert (tmp_path / "all" / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_part_is_given_only_what_it_needs(make_secrets: ModuleType, tmp_path: Path) -> None:
    make_secrets.write(tmp_path)
    found = {folder.name: {file.name for file in folder.iterdir()} for folder in tmp_path.iterdir()}
    assert found.pop("all") == {"secrets.json"}
    assert found == FILES | {"nats": {"passwords.env"}}


def test_the_bus_users_are_those_of_the_permissions(make_secrets: ModuleType) -> None:
    assert {user.user: user.password_variable for user in USERS} == {
        user: make_secrets.password_variable(user) for user in make_secrets.BUS_USERS
    }


def test_a_password_is_text_for_nats_whatever_it_looks_like(make_secrets: ModuleType) -> None:
    known = dict.fromkeys(make_secrets.names(), "12345")
    script = make_secrets.exported(known) + "printf %s $GATEWAY_NATS_PASSWORD"
    printed = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout
    assert printed == '"12345"'


Secrets = dict[str, dict[str, Any]]


def run_kubernetes(
    *arguments: str, path: str = "", environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, SCRIPT, "kubernetes", *arguments],
        env={"PATH": path, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def kubernetes_secrets(*arguments: str, path: str = "", environment: dict[str, str] | None = None) -> Secrets:
    result = run_kubernetes(*arguments, path=path, environment=environment)
    assert result.returncode == 0, result.stderr
    return {item["metadata"]["name"]: item for item in json.loads(result.stdout)["items"]}


def cluster_with(folder: Path, secrets: Secrets) -> str:
    """Return a PATH with a `kubectl` that answers with ``secrets`` as a cluster has them: encoded, and of our label."""
    items = [
        {
            "metadata": item["metadata"],
            "data": {name: b64encode(text.encode()).decode() for name, text in item["stringData"].items()},
        }
        for item in secrets.values()
        if item["metadata"]["labels"] == {"app.kubernetes.io/part-of": "parley"}
    ]
    (folder / "answer.json").write_text(json.dumps({"items": items}))
    wanted = "get secret --namespace parley --selector app.kubernetes.io/part-of=parley --output json"
    return _kubectl(folder, f'[ "$*" = "{wanted}" ] && exec /bin/cat {folder / "answer.json"}; exit 1')


def _kubectl(folder: Path, script: str) -> str:
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(folder)


def test_kubernetes_gets_a_secret_for_each_part() -> None:
    secrets = kubernetes_secrets("postgres-rw:5432")
    opaque = {name: set(item["stringData"]) for name, item in secrets.items() if item["type"] == "Opaque"}
    assert opaque == {f"parley-{part}": files for part, files in FILES.items()}
    assert "@postgres-rw:5432/parley" in secrets["parley-chat-store"]["stringData"]["database_url"]


def test_a_second_run_keeps_what_the_cluster_has(tmp_path: Path) -> None:
    first = kubernetes_secrets(
        "postgres-rw:5432", path=cluster_with(tmp_path, {}), environment={"OPENAI_API_KEY": "sk-first"}
    )
    path = cluster_with(tmp_path, first)
    assert kubernetes_secrets(path=path) == first
    assert kubernetes_secrets("postgres-rw:5432", path=path) == first


def test_a_secret_that_is_missing_in_the_cluster_is_made(tmp_path: Path) -> None:
    first = kubernetes_secrets(path=cluster_with(tmp_path, {}))
    gone = {name: item for name, item in first.items() if name not in ("parley-operator", "parley-role-chat-store")}
    second = kubernetes_secrets(path=cluster_with(tmp_path, gone))
    assert {name: item for name, item in second.items() if name in gone} != gone, "NATS gets the new password"
    assert second["parley-chat-store"] == first["parley-chat-store"]
    assert second["parley-role-chat-store"] == first["parley-role-chat-store"]


def test_what_is_set_replaces_what_the_cluster_has(tmp_path: Path) -> None:
    first = kubernetes_secrets(path=cluster_with(tmp_path, {}))
    second = kubernetes_secrets(path=cluster_with(tmp_path, first), environment={"SECRET_KEY": "k" * 32})
    changed = {name for name, item in second.items() if item != first[name]}
    assert changed == {"parley-gateway", "parley-push"}


def test_several_signing_keys_stay_until_others_are_given(tmp_path: Path) -> None:
    first = kubernetes_secrets(path=cluster_with(tmp_path, {}))
    keys = f"{'n' * 32},{'o' * 32}"
    during = kubernetes_secrets(path=cluster_with(tmp_path, first), environment={"SECRET_KEYS": keys})
    assert {name for name, item in during.items() if item != first[name]} == {"parley-gateway", "parley-push"}
    for part in ("parley-gateway", "parley-push"):
        assert during[part]["stringData"] == first[part]["stringData"] | {"secret_keys": keys}
    assert kubernetes_secrets(path=cluster_with(tmp_path, during)) == during


@pytest.mark.parametrize("name", ["OIDC_CLIENT_SECRET", "JWT_KEY"])
def test_a_secret_of_sign_in_is_the_gateways_and_stays_until_another_is_given(tmp_path: Path, name: str) -> None:
    first = kubernetes_secrets(path=cluster_with(tmp_path, {}))
    given = kubernetes_secrets(path=cluster_with(tmp_path, first), environment={name: "given\nby others"})
    assert {part for part, item in given.items() if item != first[part]} == {"parley-gateway"}
    assert given["parley-gateway"]["stringData"][name.lower()] == "given\nby others"
    assert kubernetes_secrets(path=cluster_with(tmp_path, given)) == given
    replaced = kubernetes_secrets(path=cluster_with(tmp_path, given), environment={name: "another"})
    assert replaced["parley-gateway"]["stringData"][name.lower()] == "another"


def test_a_cluster_that_does_not_answer_gets_no_new_passwords(tmp_path: Path) -> None:
    result = run_kubernetes(path=_kubectl(tmp_path, 'echo "connection refused" >&2; exit 1'))
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == "make_secrets: the cluster's secrets cannot be read: connection refused\n"


def test_without_kubectl_it_says_that_all_is_new() -> None:
    assert "every secret is new" in run_kubernetes(path="").stderr


def test_a_role_has_the_password_that_its_service_uses() -> None:
    secrets = kubernetes_secrets()
    for part, role in (("chat-store", "chat-store"), ("migrate", "parley-migrate")):
        login = secrets[f"parley-role-{role}"]["stringData"]
        assert f"//{login['username']}:{login['password']}@" in secrets[f"parley-{part}"]["stringData"]["database_url"]
