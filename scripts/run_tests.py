"""Run every test, tier by tier, and report how many of each ran. Arguments go to pytest and leave out the web tier.

With ``--compose`` first among them, run those that need a Docker engine instead, and one after the other: they share an
installation.

A tier whose tests fail does not keep the others from running. The last line sums up; the exit code is 1 when a test
failed or a tier ran none. The counts are also added to the file that TEST_COUNTS names.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
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
    """A folder of tests.

    ``workers`` is for pytest-xdist, 0 for none. Tests that start servers mostly wait, so more than there are cores go.
    """

    name: str
    paths: tuple[str, ...]
    workers: int
    ignored: tuple[str, ...] = ()


TIERS = (
    Tier("unit", ("tests/unit",), workers=2),
    Tier("integration", ("tests/integration",), workers=4),
    Tier("deploy", ("tests/deploy",), workers=2),
    Tier("e2e", ("tests/e2e",), workers=2, ignored=("tests/e2e/browser",)),
    Tier("browser", ("tests/e2e/browser",), workers=0),
    Tier("chaos", ("tests/chaos",), workers=2),
)

COMPOSE = Tier("compose", ("tests/compose",), workers=0)


@dataclass
class Outcome:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    note: str = ""


def main() -> int:
    arguments = sys.argv[1:]
    if arguments[:1] == ["--compose"]:
        return run_compose(arguments[1:])
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        if not arguments:
            outcomes["web"] = run_web(report)
        install_missing()
        browser = find_browser()
        for tier in TIERS:
            if tier.name == "browser" and browser is None:
                note = "did not run: no Chromium or Chrome on this machine"
                print(f"\nbrowser tests {note}")
                outcomes[tier.name] = Outcome(note=note)
                continue
            outcomes[tier.name] = run_pytest(tier, arguments, report, browser)
    return summarise(outcomes)


def run_compose(arguments: list[str]) -> int:
    # As the tests do themselves, but in one line and before anything else.
    for command in (["docker", "version"], ["docker", "compose", "version"]):
        if shutil.which("docker") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            print("compose tests did not run: no Docker engine with compose (DOCKER_HOST, or `docker` in PATH)")
            return 0
    with tempfile.TemporaryDirectory() as folder:
        return summarise({COMPOSE.name: run_pytest(COMPOSE, arguments, Path(folder) / "report.xml", None)})


def run_web(report: Path) -> Outcome:
    print("\n=== web ===", flush=True)
    reporters = ["--reporter=default", "--reporter=junit", f"--outputFile={report}"]
    return measured([sys.executable, "scripts/build_web.py", "test", *reporters], dict(os.environ), report)


def run_pytest(tier: Tier, arguments: list[str], report: Path, browser: str | None) -> Outcome:
    print(f"\n=== {tier.name} ===", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *tier.paths]
    command += [f"--ignore={path}" for path in tier.ignored]
    if tier.workers:
        command += ["-n", str(tier.workers), "--dist=loadscope"]
    environment = dict(os.environ)
    if browser is not None:
        environment["BROWSER_PATH"] = browser
    outcome = measured(command + arguments, environment, report)
    if not arguments and outcome == Outcome(seconds=outcome.seconds):
        outcome.failed, outcome.note = 1, "no test was found"
    return outcome


def measured(command: list[str], environment: dict[str, str], report: Path) -> Outcome:
    report.unlink(missing_ok=True)
    begun = time.monotonic()
    code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    outcome = read_report(report) if report.exists() else Outcome()
    outcome.seconds = time.monotonic() - begun
    # 5 is pytest's "no test was selected", which is fine when arguments select.
    if code not in (0, 5) and not outcome.failed:
        outcome.failed = 1
        outcome.note = f"the runner ended with {code}"
    return outcome


def read_report(report: Path) -> Outcome:
    outcome = Outcome()
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        outcome.passed += total - failed - skipped
        outcome.failed += failed
        outcome.skipped += skipped
    return outcome


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
    print("\ntier          passed  failed  skipped  seconds")
    for name, outcome in outcomes.items():
        counts = f"{outcome.passed:>6}  {outcome.failed:>6}  {outcome.skipped:>7}  {outcome.seconds:>7.0f}"
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
