"""Alerts and dashboards name metrics that exist, and Prometheus takes the rules."""

import importlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric

import push.metrics
from tests.deploy.support.paths import DEPLOY, ROOT

RULES = DEPLOY / "prometheus" / "rules" / "parley.yml"
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
PROMTOOL = shutil.which("promtool")

# Of the exporter for NATS (its `jsz` collector), and of prometheus_client itself.
OF_OTHERS = {
    "jetstream_stream_total_messages",
    "jetstream_stream_total_bytes",
    "jetstream_consumer_num_pending",
    "jetstream_consumer_num_ack_pending",
    "jetstream_consumer_num_redelivered",
    "jetstream_server_total_message_bytes",
    "jetstream_server_max_storage",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
}
_NAME = re.compile(r"\b((?:parley|jetstream|process)_[a-z_0-9]+)\b")


def _families() -> Iterator[Metric]:
    for module in ("gateway.metrics", "chat_store.metrics", "llm_worker.metrics", "parley.runtime.tokens"):
        importlib.import_module(module)
    yield from REGISTRY.collect()
    yield from push.metrics.Counters().collect()


@pytest.fixture(scope="module")
def metrics() -> set[str]:
    """The names of all series of our services."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {family.name + suffix for family in _families() for suffix in suffixes.get(family.type, ("",))}


def _expressions() -> list[tuple[str, str]]:
    found = []
    for group in GROUPS:
        for rule in group["rules"]:
            found.append((rule.get("alert") or rule["record"], rule["expr"]))
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                found.append((f"{path.stem}: {panel['title']}", target["expr"]))
    return found


@pytest.mark.parametrize(("name", "expression"), _expressions())
def test_every_metric_that_is_named_exists(metrics: set[str], name: str, expression: str) -> None:
    recorded = {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}
    named = set(_NAME.findall(re.sub(r"parley:[a-z0-9_:]+", "", expression)))
    assert named <= metrics | OF_OTHERS
    assert set(re.findall(r"parley:[a-z0-9_:]+", expression)) <= recorded
    assert named or "parley:" in expression, f"{name} looks at nothing"


def test_every_metric_of_ours_is_on_a_dashboard(metrics: set[str]) -> None:
    shown = {name for title, expression in _expressions() for name in _NAME.findall(expression) if ": " in title}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in metrics if name.startswith("parley_")}
    assert families == {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown if name.startswith("parley_")}


def test_every_alert_is_explained() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text()
    alerts = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
    for alert in alerts:
        assert f"### {alert['alert']}" in operations
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert alert["annotations"]["summary"]
    assert set(re.findall(r"^### (Parley\w+)", operations, re.M)) == {alert["alert"] for alert in alerts}


def test_the_rules_of_kubernetes_and_the_dashboards_are_rendered_from_their_sources() -> None:
    for script, files in (
        ("prometheus", ["k8s/components/monitoring/rules.yaml"]),
        ("grafana", ["grafana/dashboards"]),
    ):
        before = {path: path.read_text() for name in files for path in _files(DEPLOY / name)}
        module = _load(DEPLOY / script / "render.py")
        rendered = (
            {DEPLOY / files[0]: module.render()}
            if script == "prometheus"
            else {DEPLOY / files[0] / f"{name}.json": module.render(name) for name in module.DASHBOARDS}
        )
        assert rendered == before, f"write them anew: .venv/bin/python deploy/{script}/render.py"


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*")) if path.is_dir() else [path]


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"render_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_grafana_and_kustomize_know_every_dashboard() -> None:
    kustomization = yaml.safe_load((DEPLOY / "grafana" / "kustomization.yaml").read_text())
    listed = {file for generator in kustomization["configMapGenerator"] for file in generator["files"]}
    assert listed == {f"dashboards/{path.name}" for path in DASHBOARDS}
    uids = [json.loads(path.read_text())["uid"] for path in DASHBOARDS]
    assert len(uids) == len(set(uids))


@pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed (Debian: prometheus), so rules were not checked"
)
def test_prometheus_takes_the_rules_and_the_configuration() -> None:
    for command in (("check", "rules", str(RULES)), ("check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))):
        assert PROMTOOL is not None
        result = subprocess.run([PROMTOOL, *command], capture_output=True, text=True, check=False, timeout=60)
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus), so rules were not tried")
def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    assert PROMTOOL is not None
    tests = Path(__file__).with_name("rules_test.yml")
    result = subprocess.run([PROMTOOL, "test", "rules", tests], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
