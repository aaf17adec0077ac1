"""check_cluster.py says what a cluster lacks. There is none here: `kubectl` is a script that answers as one would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.support import kubernetes
from tests.deploy.support.kubernetes import K8S

pytestmark = pytest.mark.timeout(400)


def check(folder: Path, overlay: str, *, minor: str = "34", lacks: str = "", rendered: str | None = None) -> str:
    """Run it against a cluster, and return what it said; empty: all is well."""
    resources = kubernetes.overlay(overlay)
    versions = {resource["apiVersion"] for resource in resources} - {lacks}
    version = {"serverVersion": {"major": "1", "minor": minor, "gitVersion": f"v1.{minor}.1"}}
    (folder / "version").write_text(json.dumps(version))
    (folder / "api-versions").write_text("\n".join(versions))
    (folder / "kustomize").write_text(rendered or yaml.safe_dump_all(resources))
    program = folder / "kubectl"
    program.write_text(f'#!/bin/sh\nexec cat "{folder}/$1"\n')
    program.chmod(0o755)
    result = subprocess.run(
        [sys.executable, K8S / "check_cluster.py", overlay],
        env={"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode == 0) == (result.stderr == "")
    return result.stderr


@pytest.mark.parametrize("overlay", ["local", "production"])
def test_a_cluster_that_has_everything_passes(tmp_path: Path, overlay: str) -> None:
    assert check(tmp_path, overlay, minor="30+") == ""


def test_an_old_cluster_is_named(tmp_path: Path) -> None:
    said = check(tmp_path, "local", minor="29")
    assert said == "check_cluster: Kubernetes is v1.29.1; 1.30 or newer is needed, for preStop.sleep.\n"


def test_a_missing_operator_is_named(tmp_path: Path) -> None:
    said = check(tmp_path, "production", lacks="keda.sh/v1alpha1")
    assert "does not know keda.sh/v1alpha1" in said


def test_what_kubectl_says_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "kubectl").write_text("#!/bin/sh\necho 'choices.env: no such file' >&2; exit 1\n")
    (tmp_path / "kubectl").chmod(0o755)
    result = subprocess.run(
        [sys.executable, K8S / "check_cluster.py", "production"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr == "check_cluster: choices.env: no such file\n"
