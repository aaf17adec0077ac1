"""The supervisor of a stack: starts its processes in order, restarts them, and stops them."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from functools import partial

from parley.runtime.nats.imports import import_nats
from parley.runtime.tasks import end
from parley_cli.embedded.folder import lock_folder
from parley_cli.embedded.guard import guarded
from parley_cli.embedded.nats import NatsServer
from parley_cli.embedded.ports import LOOPBACK, PortSet
from parley_cli.embedded.postgres import PostgresServer
from parley_cli.embedded.server import EmbeddedServer
from parley_cli.polling import poll
from parley_cli.stack import probe, state
from parley_cli.stack.errors import StackError
from parley_cli.stack.log import CombinedLog
from parley_cli.stack.migration import MigrationStamp, check_servers, migrate
from parley_cli.stack.options import DEMO_MODEL, LOCAL_MODEL, MODEL_SERVER_KEY, MODEL_SERVERS, SERVICES, StackOptions
from parley_cli.stack.preconditions import check_model, check_ports
from parley_cli.stack.process import ProcessSpec, SupervisedProcess, server_spec
from parley_cli.stack.secrets import Secrets, load_secrets

_OWN = (
    *("NATS_URL", "DATABASE_URL", "SECRET_KEY", "SECRET_KEYS"),
    *("OPENAI_API_KEY", "OPENAI_BASE_URL", "DEMO_MODEL_API_KEY"),
    *("HOST", "PORT", "HEALTH_HOST", "HEALTH_PORT", "PUSH_URL"),
)
"""Settings that each service gets from the stack alone, never from ``inherited``."""
_MODEL_SERVERS = {
    DEMO_MODEL: ("parley_cli.demo_model", "/readyz"),
    LOCAL_MODEL: ("parley_cli.local_model", "/health"),
}
"""By name: the module that runs it, and the path that answers 200 once it serves."""
_SERVER_ADDRESSES = {"NATS_URL", "DATABASE_URL", "OPENAI_BASE_URL"}
_SERVER_WARNINGS = re.compile(r"\[(WRN|ERR|FTL)\] (?!Plaintext passwords)|\b(ERROR|FATAL|PANIC|WARNING):")
"""The log lines of NATS and PostgreSQL that are shown. (The plaintext passwords are random, in a private file.)"""
_START_TIMEOUT = 60.0


class Stack:
    """A running stack; an asynchronous context manager. Entering returns once everything is ready.

    Raises:
        StackError, EmbeddedError: On entering; no process is left running.

    Attributes:
        processes: By name. One that gets a signal by its ``pid`` is restarted.
    """

    def __init__(
        self, options: StackOptions, log: CombinedLog, *, on_step: Callable[[str], None] = lambda step: None
    ) -> None:
        self.options = options
        self._on_step = on_step
        self.processes: dict[str, SupervisedProcess] = {}
        self._ports = PortSet((options.port, options.push_port))
        self.port = options.port or self._ports.draw()
        self.push_port = options.push_port or self._ports.draw()
        self._log = log
        self._cleanup = ExitStack()
        self._servers: list[EmbeddedServer] = []
        self._ready = False
        self._watches: list[asyncio.Task[None]] = []
        self.nats_url = options.inherited.get("NATS_URL", "")
        self.database_url = options.inherited.get("DATABASE_URL", "")
        self.openai_base_url = options.inherited.get("OPENAI_BASE_URL") or None
        self._nats_url_of: Callable[[str], str] = lambda user: self.nats_url
        self._secrets: Secrets

    @property
    def url(self) -> str:
        """The page, and the HTTP interface."""
        return f"http://{self._reachable_host}:{self.port}"

    @property
    def push_url(self) -> str:
        return f"ws://{self._reachable_host}:{self.push_port}/ws"

    @property
    def _reachable_host(self) -> str:
        match self.options.host:
            case "0.0.0.0" | "":
                return LOOPBACK
            case "::":
                return "[::1]"
            case host:
                return f"[{host}]" if ":" in host else host

    # --- lifecycle ------------------------------

    async def __aenter__(self) -> Stack:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self) -> None:
        self._cleanup.enter_context(lock_folder(self.options.folder))
        check_ports(self.options.host, self.port, self.push_port, self._ports.draw)
        check_model(self.options)
        self._secrets = load_secrets(self.options.folder)
        await check_servers(nats_url=self.nats_url, database_url=self.database_url)
        self._add_servers()
        self._on_step("starting NATS and PostgreSQL")
        servers = [
            server_spec(server, service=server.folder.name, environment=os.environ, shown=_SERVER_WARNINGS)
            for server in self._servers
        ]
        await _all([self.start_process(spec) for spec in servers])
        self._on_step("migrating")
        await self.migrate()
        self._on_step("starting the services")
        specs = [self._model_server(name)] if (name := self.options.model_server) else []
        specs += [
            self._service(service, number + 1) for service in SERVICES for number in range(self.options.count(service))
        ]
        await _all([self.start_process(spec) for spec in specs])
        await self._wait_until_served()
        self._ready = True
        self._write_state()
        # Here, once the stack is ready: the import of the NATS client takes a moment.
        import_nats(self.nats_url)
        from parley_cli.stack import nats_watch

        self._watches = [
            asyncio.create_task(nats_watch.watch(server, self.processes[server.folder.name], self._log))
            for server in self._servers
            if isinstance(server, NatsServer)
        ]

    async def stop(self) -> None:
        """Stop all processes gracefully, each before its dependencies."""
        await end(*self._watches)
        last = (("llm-worker",), ("chat-store",), (*MODEL_SERVERS, "nats", "postgres"))
        first = {process.spec.service for process in self.processes.values()}.difference(*last)
        for stage in (first, *last):
            await asyncio.gather(*[p.stop() for p in self.processes.values() if p.spec.service in stage])
        if self.processes:
            state.remove(self.options.folder)
        self._cleanup.close()

    def kill(self) -> None:
        """Kill all processes."""
        for process in self.processes.values():
            process.kill()

    # --- start ------------------------------

    async def _wait_until_served(self) -> None:
        """Return when all processes are ready at the same time, and page and websockets are served."""
        missing: list[str] = []

        async def served() -> bool:
            missing[:] = await self._not_served()
            return not missing

        try:
            await poll(served, timeout=_START_TIMEOUT, every=0.1)
        except TimeoutError:
            raise StackError(
                f"Parley is not ready: {', '.join(missing)} did not become ready and stay ready within "
                f"{_START_TIMEOUT:g} seconds. The log above has the reason."
            ) from None

    async def _not_served(self) -> list[str]:
        host = self._reachable_host.strip("[]")
        missing = [name for name, process in self.processes.items() if not await process.is_ready()]
        if not await probe.serves_page(self.port, host):
            missing.append(f"the page at {self.url}")
        if not await probe.serves_sockets(self.push_port, host):
            missing.append(f"the websockets at {self.push_url}")
        return missing

    def _add_servers(self) -> None:
        if not self.nats_url:
            nats = NatsServer(
                self.options.folder / "nats", port=self._ports.draw(), passwords=self._secrets.nats_passwords
            )
            self.nats_url = nats.url
            self._nats_url_of = nats.url_of
            self._servers.append(nats)
        if not self.database_url:
            postgres = PostgresServer(
                self.options.folder / "postgres",
                port=self._ports.draw(),
                password=self._secrets.postgres_password,
                fsync=self.options.fsync,
            )
            self.database_url = postgres.url
            self._servers.append(postgres)

    async def migrate(self) -> None:
        """Migrate database and streams, unless the installed code did so already."""
        # Only embedded servers cannot have been changed by others.
        stamp = MigrationStamp(server.folder for server in self._servers)
        ours = len(self._servers) == 2
        if ours and stamp.is_current():
            return
        await migrate(
            self._environment("migrate", DATABASE_URL=self.database_url), lambda line: self._log.line("migrate", line)
        )
        if ours:
            stamp.set()

    async def start_process(self, spec: ProcessSpec) -> None:
        """Start a process of the stack and wait until it is ready. Raises StackError."""
        process = SupervisedProcess(
            spec, self._log, restart_delays=self.options.restart_delays, on_change=self._write_state
        )
        self.processes[spec.name] = process
        await process.start(deadline=_START_TIMEOUT)

    # --- processes ---------------------------------------------------------------------------------------------------

    def _service(self, service: str, number: int) -> ProcessSpec:
        health_port = self._ports.draw()
        port = {"gateway": self.port, "push": self.push_port}.get(service)
        settings = {"HEALTH_HOST": LOOPBACK, "HEALTH_PORT": str(health_port)}
        if port is not None:
            settings |= {"HOST": self.options.host, "PORT": str(port), **self._signing_keys}
        match service:
            case "gateway":
                settings |= {"PUSH_URL": self.push_url, "DEMO": str(self.options.model_server == DEMO_MODEL).lower()}
                if self.options.web_dist is not None:
                    settings["WEB_DIST"] = str(self.options.web_dist)
            case "chat-store":
                settings["DATABASE_URL"] = self.database_url
            case "llm-worker":
                # Ctrl-C waits for this time; unfinished answers continue at the next start.
                settings["SHUTDOWN_GRACE"] = self.options.inherited.get("SHUTDOWN_GRACE", "1")
                for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
                    if value := self.options.inherited.get(name):
                        settings[name] = value
                if self.options.model_server:
                    settings |= {"OPENAI_API_KEY": MODEL_SERVER_KEY, "OPENAI_BASE_URL": self.openai_base_url or ""}
                if self.options.model_server == DEMO_MODEL:
                    # Its behaviours are model names that it does not list.
                    settings |= {"ANY_MODEL": "true", "MODEL": self.options.inherited.get("MODEL") or "demo"}

        return ProcessSpec(
            name=service if self.options.count(service) == 1 else f"{service}-{number}",
            service=service,
            command=lambda: guarded([sys.executable, "-m", service.replace("-", "_")]),
            environment=self._environment(service, **settings),
            ready=partial(probe.is_ok, health_port, "/readyz"),
            port=port,
            health_port=health_port,
        )

    def _model_server(self, name: str) -> ProcessSpec:
        port = self._ports.draw()
        self.openai_base_url = f"http://{LOOPBACK}:{port}/v1"
        module, health = _MODEL_SERVERS[name]
        return ProcessSpec(
            name=name,
            service=name,
            command=lambda: guarded([sys.executable, "-m", module, "--port", str(port)]),
            environment=self._environment(name, LOCAL_MODEL_API_KEY=MODEL_SERVER_KEY),
            ready=partial(probe.is_ok, port, health),
            port=port,
            health_port=port,
            stop_seconds=2.0,
        )

    @property
    def _signing_keys(self) -> Mapping[str, str]:
        # With SECRET_KEYS set, it still gives the cookie its name, which stays the same when a key is replaced.
        keys = {"SECRET_KEY": self.options.inherited.get("SECRET_KEY") or self._secrets.secret_key}
        if several := self.options.inherited.get("SECRET_KEYS"):
            keys["SECRET_KEYS"] = several
        return keys

    def _environment(self, service: str, **settings: str) -> Mapping[str, str]:
        inherited = {name: value for name, value in self.options.inherited.items() if name not in _OWN}
        if service not in MODEL_SERVERS:
            inherited["NATS_URL"] = self._nats_url_of(service)
        given = inherited | settings | dict(self.options.environment.get(service, {}))
        for name in _SERVER_ADDRESSES & given.keys():
            given[name] = self.options.address_for(service, given[name])
        return given

    # --- state -------------------------------------------------------------------------------------------------------

    def _write_state(self) -> None:
        state.write(
            self.options.folder,
            state.State(
                pid=os.getpid(),
                url=self.url,
                push_url=self.push_url,
                nats_url=self.nats_url,
                database_url=self.database_url,
                openai_base_url=self.openai_base_url,
                ready=self._ready,
                processes={
                    name: state.ProcessState(
                        service=process.spec.service,
                        pid=process.pid,
                        port=process.spec.port,
                        health_port=process.spec.health_port,
                        restarts=process.restarts,
                    )
                    for name, process in self.processes.items()
                },
            ),
        )


async def _all(starting: list[Coroutine[None, None, None]]) -> None:
    """Run concurrently; the first failure cancels the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in starting:
                group.create_task(one)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
