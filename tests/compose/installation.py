"""An installation with compose, in a clone of this repository."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from parley_cli.embedded.ports import free_port
from tests.compose.figures import FIGURES
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
SERVICES = ("gateway", "chat-store", "llm-worker", "push")
_COMMAND_SECONDS = 900


def engine_problem() -> str | None:
    """Return why compose cannot be tried here, in one line."""
    if shutil.which("docker") is None:
        return "no `docker` in PATH"
    for command in (["docker", "version"], ["docker", "compose", "version"]):
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if result.returncode != 0:
            said = (result.stderr or result.stdout).strip().splitlines()
            return f"`{' '.join(command)}` failed: {said[-1] if said else result.returncode}"
    return None


class Installation:
    """A project of its own name, port, images and volumes, all gone at the end. A context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "my parley"
        self.project = f"parley-test-{secrets.token_hex(4)}"
        self.port = free_port()
        self.settings: dict[str, str] = {}
        self.files: list[str] = []

    def __enter__(self) -> Installation:
        # As people with private folders clone: nothing is readable for others.
        self.run("git", "clone", "--quiet", str(ROOT), str(self.folder), cwd=ROOT, umask=0o077)
        self.configure()
        try:
            began = time.monotonic()
            self.compose("build")
            FIGURES["build, seconds"] = f"{time.monotonic() - began:.0f}"
            began = time.monotonic()
            self.up()
            FIGURES["first start until the page answers, seconds"] = f"{time.monotonic() - began:.1f}"
        except BaseException:
            self.remove()
            raise
        for name in (*SERVICES, "demo-model", "tools", "nats", "postgres", "proxy", "secrets"):
            size = self.run("docker", "image", "ls", "--format", "{{.Size}}", f"{self.project}-{name}").strip()
            if size:
                FIGURES[f"image {name}"] = size
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print(self.compose("ps", "--all", check=False))
        self.remove()

    def remove(self) -> None:
        self.compose("--profile", "*", "down", "--volumes", "--rmi", "all", "--timeout", "5", check=False)

    # --- commands ----------------------------------------------------------------------------------------------------

    def run(self, *command: str, check: bool = True, cwd: Path | None = None, umask: int = -1) -> str:
        """Run a command in the clone; return what it says."""
        result = subprocess.run(
            command,
            cwd=cwd or self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=_COMMAND_SECONDS,
            umask=umask,
        )
        assert not check or result.returncode == 0, f"{command} ended with {result.returncode}:\n{result.stdout}"
        return result.stdout

    @property
    def environment(self) -> dict[str, str]:
        """What Docker's client is to know; settings are in `.env` alone."""
        kept = (
            "PATH",
            "HOME",
            "DOCKER_HOST",
            "DOCKER_CONFIG",
            "DOCKER_CONTEXT",
            "DOCKER_CERT_PATH",
            "DOCKER_TLS_VERIFY",
        )
        return {name: os.environ[name] for name in kept if name in os.environ}

    def compose_command(self, *arguments: str) -> list[str]:
        return ["docker", "compose", *(word for file in self.files for word in ("--file", file)), *arguments]

    def compose(self, *arguments: str, check: bool = True) -> str:
        return self.run(*self.compose_command(*arguments), check=check)

    def configure(self, **settings: str) -> None:
        """Write `.env` anew: what every test needs, and ``settings``."""
        self.settings = {"COMPOSE_PROJECT_NAME": self.project, "PARLEY_PORT": str(self.port), **settings}
        (self.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()))

    def up(self, *arguments: str, ready: bool = True) -> None:
        """Start what is not as it should be, as `docker compose up --detach` does."""
        self.compose("up", "--detach", *arguments)
        if ready:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Return when every container is healthy: the proxy's health is that of all that users ask for."""

        wait_until(lambda: self.is_running, deadline=240, every=0.3, what=f"health of {self.project}")
        for name in ("llm-worker", "chat-store", "gateway"):
            for container in self.ids(name):
                wait_until(lambda: self._is_ready(container), deadline=120, every=0.3, what=name)  # noqa: B023

    @property
    def is_running(self) -> bool:
        """Whether every container that stays is there and healthy."""
        found = [each for each in self.containers() if each["Service"] not in ("secrets", "migrate")]
        return bool(found) and all(each["State"] == "running" and each["Health"] == "healthy" for each in found)

    def _is_ready(self, container: str) -> bool:
        probe = (
            "import os, urllib.request as u;"
            'u.urlopen(f\'http://127.0.0.1:{os.environ.get("HEALTH_PORT") or os.environ["PORT"]}/readyz\', timeout=2)'
        )
        command = ["docker", "exec", container, "python", "-c", probe]
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

    # --- what there is -----------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def containers(self) -> list[dict[str, Any]]:
        said = self.compose("ps", "--all", "--format", "json")
        return [json.loads(line) for line in said.splitlines() if line.startswith("{")]

    def ids(self, service: str) -> list[str]:
        return [each["ID"] for each in self.containers() if each["Service"] == service]

    def processes(self, container: str) -> int:
        """Return how many processes run in a container, its init included."""
        return len(self.run("docker", "top", container, check=False).splitlines()) - 1

    def started(self) -> dict[str, set[str]]:
        """Return when each container of each service started, without those that run once."""
        found: dict[str, set[str]] = {}
        for each in self.containers():
            if each["Service"] not in ("secrets", "migrate"):
                at = self.run("docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", each["ID"])
                found.setdefault(each["Service"], set()).add(at.strip())
        return found

    def variables(self, service: str) -> dict[str, str]:
        """Return the environment of the service's process, which its entry point may have added to."""
        # The first process is init, which has what the container was given; a health check has that too.
        child = "read first others </proc/1/task/1/children; cat /proc/$first/environ"
        said = self.compose("exec", "--no-TTY", service, "sh", "-c", child)
        return dict(line.split("=", 1) for line in said.split("\0") if "=" in line)

    def hashes(self) -> dict[str, str]:
        """Return what compose compares of each service."""
        return dict(line.split() for line in self.compose("config", "--hash", "*").splitlines())

    def config(self) -> dict[str, Any]:
        response = httpx.get(f"{self.url}/v1/config", trust_env=False)
        assert response.is_success, f"{response.status_code} {response.text}"
        answer: dict[str, Any] = response.json()
        return answer

    def changed(self, before: dict[str, set[str]]) -> set[str]:
        """Return the services that have started since ``before``."""
        now = self.started()
        return {name for name in now | before if now.get(name) != before.get(name)}

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            (self.folder / name).write_text(text)
