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

from tests.deploy.support.paths import DEPLOY, ROOT

K8S = DEPLOY / "k8s"
CRDS = Path(__file__).parents[1] / "crds"
CRD_GROUPS = ("gateway.networking.k8s.io", "keda.sh", "monitoring.coreos.com", "postgresql.cnpg.io")
VERSION = "1.34.0"

Resource = dict[str, Any]


def renderer() -> list[str] | None:
    """The command that renders a kustomization, when there is one."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    return ["kubectl", "kustomize"] if shutil.which("kubectl") else None


@functools.cache
def _rendered(folder: Path) -> str:
    command = renderer()
    assert command is not None
    result = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def render(folder: Path) -> list[Resource]:
    return [resource for resource in yaml.safe_load_all(_rendered(folder)) if resource]


def of_kind(resources: list[Resource], kind: str) -> dict[str, Resource]:
    return {resource["metadata"]["name"]: resource for resource in resources if resource["kind"] == kind}


def is_custom(resource: Resource) -> bool:
    return resource["apiVersion"].split("/")[0] in CRD_GROUPS


def has_npm() -> bool:
    return shutil.which("npm") is not None and shutil.which("node") is not None


@functools.cache
def crd_folder() -> Path:
    """The folder with the schemas of custom resources, installed when it is missing."""
    folder = ROOT / ".make" / "crds"
    folder.mkdir(parents=True, exist_ok=True)
    lock = (CRDS / "package-lock.json").read_bytes()
    stamp = folder / "installed"
    with (folder / "lock").open("w") as guard:
        # Tests may run in several processes.
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_bytes() != lock:
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(CRDS / name, folder)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
            stamp.write_bytes(lock)
        shutil.copy(CRDS / "validate.mjs", folder)
    return folder


def crd_problems(resources: list[Resource]) -> list[str]:
    """What the schemas say of types, values and missing fields."""
    folder = crd_folder()
    result = subprocess.run(
        ["node", "validate.mjs"],
        cwd=folder,
        input=json.dumps(resources),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    problems: list[str] = json.loads(result.stdout)
    return problems


def typescript() -> Path | None:
    compiler = ROOT / "web" / "node_modules" / ".bin" / "tsc"
    return compiler if compiler.exists() else None


def unknown_fields(resources: list[Resource]) -> str:
    """What TypeScript says of fields that the resources' types do not have."""
    folder, compiler = crd_folder(), typescript()
    assert compiler is not None
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
        [str(compiler), *options, "check.ts"], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    return "" if result.returncode == 0 else result.stdout + result.stderr
