"""Write the alert rules as the resource that Prometheus' operator takes, from ``rules/parley.yml``."""

from pathlib import Path

import yaml

HERE = Path(__file__).parent
TARGET = HERE.parent / "k8s" / "components" / "monitoring" / "rules.yaml"


def render() -> str:
    groups = yaml.safe_load((HERE / "rules" / "parley.yml").read_text())["groups"]
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "parley"},
        "spec": {"groups": groups},
    }
    head = "# Rendered from deploy/prometheus/rules/parley.yml by deploy/prometheus/render.py; do not edit.\n"
    return head + yaml.safe_dump(resource, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    TARGET.write_text(render())
