"""Run every test and report how many of each tier ran. Arguments go to pytest and leave out the web tier.

Several tiers run at once, and what one printed is shown when it has ended. With ``--compose`` first among the
arguments, run those tests that need a Docker engine instead, and one after the other: they share an installation.

A tier whose tests fail does not keep the others from running. The last line sums up; the exit code is 1 when a test
failed or a tier ran none. The counts are also added to the file that TEST_COUNTS names.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PROGRAMS = {
    "nginx": "nginx-light",
    "openssl": "openssl",
    # Debian 12 has the oldest version that is supported.
    "pg_createcluster": "postgresql",
    "pgbouncer": "pgbouncer",
    "prometheus": "prometheus",
}
"""Programs that some tests need, and their Debian packages; without one its tests are skipped, with the reason."""

LIBRARIES = {"libgomp.so.1": "libgomp1"}
"""What llama.cpp, the program of the real model, loads from the system."""


PROVIDERS = {".venv/.smollm2": "a real model", ".venv-litellm/.installed": "LiteLLM's proxy"}
"""Makefile targets, by what they install."""


@dataclass(frozen=True)
class Tier:
    """Tests that run together.

    ``processes`` is how many of them run at once. Of tests with pytest these are workers of pytest-xdist; 0: none, in
    the process of pytest itself, whose output is shown at once.
    """

    name: str
    paths: tuple[str, ...] = ()
    processes: int = 0
    ignored: tuple[str, ...] = ()


BROWSER = Tier("browser", ("tests/e2e/browser",), processes=1)
TIERS = (
    BROWSER,
    Tier("integration", ("tests/integration",), processes=3),
    Tier("e2e", ("tests/e2e",), processes=2, ignored=BROWSER.paths),
    Tier("deploy", ("tests/deploy",), processes=1),
    Tier("unit", ("tests/unit",), processes=2),
    Tier("chaos", ("tests/chaos",), processes=2),
    Tier("web", processes=1),
)
"""The longest first: a tier starts as soon as its processes fit in."""
COMPOSE = Tier("compose", ("tests/compose",))

AT_ONCE = 4
"""Processes of all tiers together. Tests that start servers mostly wait, so they are more than there are cores."""


@dataclass
class Outcome:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    note: str = ""

    @property
    def count(self) -> int:
        return self.passed + self.failed + self.skipped


def main() -> int:
    arguments = sys.argv[1:]
    if arguments[:1] == ["--compose"]:
        return run_compose(arguments[1:])
    install_missing()
    browser = find_browser()
    with tempfile.TemporaryDirectory() as folder:
        runs = [TierRun(tier, arguments, Path(folder), browser) for tier in TIERS if tier.paths or not arguments]
        run_at_once(runs)
    return summarise({run.tier.name: run.outcome for run in runs})


def run_at_once(runs: Sequence["TierRun"]) -> None:
    """Run tiers in their order, ``AT_ONCE`` processes at a time."""
    changed = threading.Condition()
    free = AT_ONCE

    def run(one: TierRun) -> None:
        nonlocal free
        try:
            one.run()
        finally:
            with changed:
                free += one.tier.processes
                one.print_log()
                changed.notify()

    with ThreadPoolExecutor(len(runs)) as threads:
        started = []
        for one in runs:
            with changed:
                while free < one.tier.processes:
                    changed.wait()
                free -= one.tier.processes
            started.append(threads.submit(run, one))
    for future in started:
        future.result()


def run_compose(arguments: list[str]) -> int:
    # As the tests do themselves, but in one line and before anything else.
    for command in (["docker", "version"], ["docker", "compose", "version"]):
        if shutil.which("docker") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            print("compose tests did not run: no Docker engine with compose (DOCKER_HOST, or `docker` in PATH)")
            return 0
    with tempfile.TemporaryDirectory() as folder:
        run = TierRun(COMPOSE, arguments, Path(folder), None)
        run.run()
    return summarise({COMPOSE.name: run.outcome})


class TierRun:
    """One run of a tier."""

    def __init__(self, tier: Tier, arguments: list[str], folder: Path, browser: str | None) -> None:
        self.tier = tier
        self.outcome = Outcome()
        self._arguments = arguments
        self._report = folder / f"{tier.name}.xml"
        self._log = folder / f"{tier.name}.log"
        self._browser = browser

    def run(self) -> None:
        if self.tier == BROWSER and self._browser is None:
            self.outcome.note = "did not run: no Chromium or Chrome on this machine"
            return
        environment = dict(os.environ)
        # Compiled once, not by each process that imports it: a service's modules, and the tests.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if self._browser is not None:
            environment["BROWSER_PATH"] = self._browser
        print(f"=== {self.tier.name} starts", flush=True)
        begun = time.monotonic()
        with self._log.open("wb") as log:
            output = log if self.tier.processes else None
            process = subprocess.Popen(self._command(), cwd=ROOT, env=environment, stdout=output, stderr=output)
            # Unlike Popen.wait(), it returns what the process and its children used.
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if self._report.exists():
            read_report(self._report, self.outcome)
        self.outcome.seconds = time.monotonic() - begun
        self.outcome.cpu_seconds = usage.ru_utime + usage.ru_stime
        self._judge(process.returncode)

    def print_log(self) -> None:
        """Print what a tier printed that ran beside others."""
        print(f"\n=== {self.tier.name} {self.outcome.note}".rstrip(), flush=True)
        if self._log.exists():
            sys.stdout.buffer.write(self._log.read_bytes())
            sys.stdout.buffer.flush()

    def _command(self) -> list[str]:
        if not self.tier.paths:
            reporters = ["--reporter=default", "--reporter=junit", f"--outputFile={self._report}"]
            return [sys.executable, "scripts/build_web.py", "test", *reporters]
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={self._report}", *self.tier.paths]
        command += ["-o", f"cache_dir=.pytest_cache/{self.tier.name}"]
        command += [f"--ignore={path}" for path in self.tier.ignored]
        if self.tier.processes > 1:
            command += ["-n", str(self.tier.processes), "--dist=loadscope"]
        return command + self._arguments

    def _judge(self, code: int) -> None:
        # 5 is pytest's "no test was selected", which is fine when arguments select.
        if code not in (0, 5) and not self.outcome.failed:
            self.outcome.failed, self.outcome.note = 1, f"the runner ended with {code}"
        elif not self._arguments and not self.outcome.count:
            self.outcome.failed, self.outcome.note = 1, "no test was found"


def read_report(report: Path, outcome: Outcome) -> None:
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        outcome.passed += total - failed - skipped
        outcome.failed += failed
        outcome.skipped += skipped


def find_browser() -> str | None:
    return os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, BROWSERS)), None)


def has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def install_missing() -> None:
    """Install the programs that tests use, where that takes no more than root on a Debian machine."""
    install_providers()
    packages = [package for program, package in PROGRAMS.items() if not shutil.which(program, path=SEARCH_PATH)]
    packages += [package for library, package in LIBRARIES.items() if not has_library(library)]
    if find_browser() is None:
        packages.append("chromium")
    if not packages or not shutil.which("apt-get") or os.geteuid() != 0:
        return
    print(f"Installing {', '.join(packages)} (once)…", flush=True)
    # Installed to be run by tests: nothing is to start by itself.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    for command in (["apt-get", "update", "-qq"], install):
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)


def install_providers() -> None:
    """Install the providers of end-to-end tests; without one its tests are skipped, with the reason."""
    for target, name in PROVIDERS.items():
        if subprocess.run(["make", "--silent", target], cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode:
            print(f"The tests of {name} will not run: its packages could not be installed.", flush=True)


def summarise(outcomes: dict[str, Outcome]) -> int:
    print("\ntier          passed  failed  skipped  seconds  CPU seconds")
    for name, outcome in outcomes.items():
        counts = f"{outcome.passed:>6}  {outcome.failed:>6}  {outcome.skipped:>7}"
        counts += f"  {outcome.seconds:>7.0f}  {outcome.cpu_seconds:>11.0f}"
        print(f"{name:<12}  {counts}  {outcome.note}".rstrip())
    passed = sum(outcome.passed for outcome in outcomes.values())
    failed = sum(outcome.failed for outcome in outcomes.values())
    skipped = sum(outcome.skipped for outcome in outcomes.values())
    if file_of_counts := os.environ.get("TEST_COUNTS"):
        with Path(file_of_counts).open("a") as file:
            file.write(f"{passed} {failed} {skipped}\n")
    print()
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
