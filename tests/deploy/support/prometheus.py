"""A real Prometheus with our configuration and rules; only where it finds the services is exchanged."""

from __future__ import annotations

import json
import shutil
import signal
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from parley_cli.embedded.guard import guarded
from parley_cli.embedded.ports import LOOPBACK, free_port
from parley_cli.embedded.server import EmbeddedServer
from tests.deploy.support.paths import DEPLOY


def prometheus_program() -> str | None:
    return shutil.which("prometheus")


class Prometheus(EmbeddedServer):
    """Scrapes ``targets`` (ports on loopback by service) each second."""

    name = "prometheus"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, targets: Mapping[str, int]) -> None:
        super().__init__()
        self.folder = folder
        self.port = free_port()
        self._targets = targets

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(DEPLOY / "prometheus" / "rules" / "*.yml")]
        for job in config["scrape_configs"]:
            for place in job.pop("dns_sd_configs", []):
                (name,) = place["names"]
                job["static_configs"] = [{"targets": [f"{LOOPBACK}:{self._targets[name]}"]}]
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    @property
    def command(self) -> list[str]:
        program = prometheus_program()
        assert program is not None
        return guarded(
            [
                program,
                f"--config.file={self.folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.folder / 'data'}",
                f"--web.listen-address={LOOPBACK}:{self.port}",
            ]
        )

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):
                return True
        except urllib.error.HTTPError as error:
            error.close()  # or Python 3.14 warns of it
            return False
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the result's series; those without a number (0/0) left out."""
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return [series for series in found if series["value"][1] != "NaN"]

    def alerts(self) -> list[str]:
        """Return the names of the alerts that fire."""
        return [each["labels"]["alertname"] for each in self._get("alerts")["alerts"] if each["state"] == "firing"]

    def rule_problems(self) -> list[str]:
        """Return what was wrong with rules when they were evaluated."""
        rules = [rule for group in self._get("rules")["groups"] for rule in group["rules"]]
        return [rule["lastError"] for rule in rules if rule.get("lastError")]

    def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                data: dict[str, Any] = json.loads(response.read())["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        return data
