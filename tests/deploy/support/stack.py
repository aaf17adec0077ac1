"""What `docker compose up` runs, without Docker: its secrets, settings, roles, permissions and proxy, on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from parley_cli.embedded.guard import guarded
from parley_cli.embedded.ports import LOOPBACK, free_port
from parley_cli.embedded.postgres import PostgresServer, postgres_program
from parley_cli.embedded.server import EmbeddedServer
from tests.deploy.support import compose, dockerfile
from tests.deploy.support.nats import DeployedNats
from tests.deploy.support.paths import DEPLOY, ROOT
from tests.support.service import ServiceProcess

PACKAGES = {"gateway": "gateway", "chat-store": "chat_store", "llm-worker": "llm_worker", "push": "push"}


def nginx_program() -> str | None:
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


class Proxy(EmbeddedServer):
    """nginx with a configuration of ``deploy/proxy``; only the names of its upstreams are exchanged."""

    name = "nginx"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, *, gateway: int, push: int, config: str = "nginx.conf") -> None:
        super().__init__()
        self.folder = folder
        self._config = config
        self.port = free_port()
        self._health = free_port()
        self._upstreams = {"gateway:8000": f"{LOOPBACK}:{gateway}", "push:8001": f"{LOOPBACK}:{push}"}

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = (DEPLOY / "proxy" / self._config).read_text()
        for name, address in self._upstreams.items():
            assert name in config
            config = config.replace(name, address)
        config = config.replace("listen 8080", f"listen {LOOPBACK}:{self.port}")
        config = config.replace("listen 8081", f"listen {LOOPBACK}:{self._health}")
        config = config.replace("/tmp/", f"{self.folder}/").replace("worker_processes auto", "worker_processes 1")
        (self.folder / "nginx.conf").write_text(config)

    @property
    def command(self) -> list[str]:
        program = nginx_program()
        assert program is not None
        # As root it would give its workers to another account, which may not reach a test's folder.
        user = "user root; " if os.geteuid() == 0 else ""
        return guarded([program, "-c", str(self.folder / "nginx.conf"), "-g", f"{user}daemon off;"])

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def is_ready(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), timeout=1).close()
        except OSError:
            return False
        return True


class ComposeStack:
    """The compose file's services on loopback, a context manager. ``processes`` by the names in the file."""

    def __init__(self, folder: Path, *, demo_model: str, with_proxy: bool) -> None:
        self._folder = folder
        self._demo_model = demo_model
        self._with_proxy = with_proxy
        self._stack = ExitStack()
        self.processes: dict[str, ServiceProcess] = {}
        self.secrets = folder / "secrets"
        self.ports = {name: free_port() for name in ("gateway", "push")}

    def __enter__(self) -> ComposeStack:
        with ExitStack() as stack:
            self._make_secrets()
            self.nats = DeployedNats(self._folder / "nats", environment=self.secrets / "nats" / "passwords.env")
            self.postgres = PostgresServer(self._folder / "postgres", password="superuser", fsync=False)
            stack.enter_context(self.nats)
            stack.enter_context(self.postgres)
            self._make_roles()
            self._exchange_addresses()
            self._migrate()
            for name in ("chat-store", "llm-worker", "push", "gateway"):
                self.processes[name] = self._service(name)
                stack.enter_context(self.processes[name])
            if self._with_proxy:
                proxy = Proxy(self._folder / "proxy", gateway=self.ports["gateway"], push=self.ports["push"])
                stack.enter_context(proxy)
                self.url = proxy.url
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _make_secrets(self) -> None:
        self.secrets.mkdir(parents=True)
        script = DEPLOY / "secrets" / "make_secrets.py"
        subprocess.run([sys.executable, "-I", script, "files", self.secrets], env={}, check=True, timeout=60)

    def _make_roles(self) -> None:
        passwords = {
            name: (self.secrets / "postgres" / name).read_text() for name in ("migrate_password", "service_password")
        }
        options = [word for name, password in passwords.items() for word in ("--set", f"{name}={password}")]
        for file in ("roles.sql", "privileges.sql"):
            run_psql(self.postgres.url, *options, "--file", str(DEPLOY / "postgres" / file))

    def _exchange_addresses(self) -> None:
        """Compose's names are not resolved here."""
        names = {
            "nats:4222": f"{LOOPBACK}:{self.nats.port}",
            "postgres:5432": f"{LOOPBACK}:{self.postgres.port}",
        }
        for file in self.secrets.glob("*/*"):
            text = file.read_text()
            for name, address in names.items():
                text = text.replace(name, address)
            file.chmod(0o644)
            file.write_text(text)

    def environment(self, service: str) -> dict[str, str]:
        """The service's environment: of its image, then of the compose file."""
        _, stages = dockerfile.read(ROOT / "Dockerfile")
        image = dockerfile.environment(stages, service)
        declared = compose.environment_of(compose.load()["services"][service])
        environment = {
            name: value for name, value in image.items() if name not in ("PATH", "PORT", "HEALTH_PORT")
        } | declared
        environment["SECRETS_DIR"] = str(self.secrets / service)
        environment["HOST"] = environment["HEALTH_HOST"] = LOOPBACK
        if service in self.ports:
            environment["PORT"] = str(self.ports[service])
        if "PUSH_URL" in environment:
            environment["PUSH_URL"] = environment["PUSH_URL"].replace("push:8001", f"{LOOPBACK}:{self.ports['push']}")
        if service in ("gateway", "llm-worker"):
            # What the entry point chooses (test_compose.py).
            environment |= {"OPENAI_BASE_URL": self._demo_model, "ANY_MODEL": "true", "DEMO": "true"}
        if "WEB_DIST" in environment:
            environment["WEB_DIST"] = str(self._page())
        return environment

    def _page(self) -> Path:
        page = self._folder / "page"
        page.mkdir(exist_ok=True)
        (page / "index.html").write_text("<!doctype html><title>A page</title>")
        return page

    def _migrate(self) -> None:
        command = compose.load()["services"]["migrate"]["command"]
        environment = {"SECRETS_DIR": str(self.secrets / "migrate"), "PATH": os.environ["PATH"]}
        subprocess.run([sys.executable, "-m", "chat_store", *command], env=environment, check=True, timeout=60)

    def _service(self, name: str) -> ServiceProcess:
        return ServiceProcess(PACKAGES[name], self.environment(name), deadline=60)


def run_psql(url: str, *arguments: str) -> str:
    command = [
        postgres_program("psql"),
        "--no-psqlrc",
        "--set",
        "ON_ERROR_STOP=1",
        "--quiet",
        "--tuples-only",
        "--no-align",
    ]
    result = subprocess.run([*command, *arguments, url], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout
