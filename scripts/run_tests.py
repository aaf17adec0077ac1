"""Run every test and report how many of each tier ran. Arguments go to pytest and leave out the web tier.

With ``--compose`` first among them, run those that need a Docker engine instead, and one after the other: they share an
installation.

Tests that fail do not keep the others from running. The last line sums up; the exit code is 1 when a test failed or a
tier ran none. The counts are also added to the file that TEST_COUNTS names. With TEST_DURATIONS=tests/durations.json
the seconds of each module are written there, which the next run orders its modules by.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
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


TIERS = ("unit", "integration", "deploy", "e2e", "browser", "chaos", "compose")
FOLDERS = {tier: f"tests/{tier}" for tier in TIERS} | {"browser": "tests/e2e/browser", "web": "web"}

UNIT_WORKERS = "2"
"""Unit tests keep a core each busy."""
SERVER_WORKERS = "5"
"""Tests that start servers mostly wait for them, so more than there are cores run at once."""


@dataclass
class Outcome:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    note: str = ""

    @property
    def count(self) -> int:
        return self.passed + self.failed + self.skipped


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
        outcomes |= run_pytest(["unit"], UNIT_WORKERS, arguments, report)
        outcomes |= run_pytest(["integration", "deploy", "e2e", "browser", "chaos"], SERVER_WORKERS, arguments, report)
    return summarise(outcomes)


def run_compose(arguments: list[str]) -> int:
    # As the tests do themselves, but in one line and before anything else.
    for command in (["docker", "version"], ["docker", "compose", "version"]):
        if shutil.which("docker") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            print("compose tests did not run: no Docker engine with compose (DOCKER_HOST, or `docker` in PATH)")
            return 0
    with tempfile.TemporaryDirectory() as folder:
        return summarise(run_pytest(["compose"], "0", arguments, Path(folder) / "report.xml"))


def run_web(report: Path) -> Outcome:
    print("\n=== web ===", flush=True)
    reporters = ["--reporter=default", "--reporter=junit", f"--outputFile={report}"]
    command = [sys.executable, "scripts/build_web.py", "test", *reporters]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    outcomes = {"web": Outcome()}
    if report.exists():
        read_report(report, outcomes)
    if code and not outcomes["web"].failed:
        outcomes["web"].failed, outcomes["web"].note = 1, f"the runner ended with {code}"
    return outcomes["web"]


def run_pytest(tiers: list[str], workers: str, arguments: list[str], report: Path) -> dict[str, Outcome]:
    """Run the tests of some tiers side by side: a module's tests in one process, the longest modules first."""
    print(f"\n=== {', '.join(tiers)} ===", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "-n", workers]
    command += ["--dist=loadgroup", "--no-loadscope-reorder", *(FOLDERS[tier] for tier in tiers if tier != "browser")]
    environment = dict(os.environ)
    browser = find_browser() if "browser" in tiers else None
    if browser is not None:
        environment["BROWSER_PATH"] = browser
    elif "browser" in tiers:
        command.append(f"--ignore={FOLDERS['browser']}")
    report.unlink(missing_ok=True)
    code = subprocess.run(command + arguments, cwd=ROOT, env=environment, check=False).returncode
    outcomes = {tier: Outcome() for tier in tiers}
    if report.exists():
        read_report(report, outcomes)
    # 5 is pytest's "no test was selected", which is fine when arguments select.
    if code not in (0, 5) and not any(outcome.failed for outcome in outcomes.values()):
        outcomes[tiers[0]].failed, outcomes[tiers[0]].note = 1, f"the runner ended with {code}"
    for tier, outcome in outcomes.items():
        if tier == "browser" and browser is None:
            outcome.note = "did not run: no Chromium or Chrome on this machine"
        elif not arguments and not outcome.count:
            outcome.failed, outcome.note = 1, outcome.note or "no test was found"
    return outcomes


def read_report(report: Path, outcomes: dict[str, Outcome]) -> None:
    """Add the test cases of a report to the tier of each; the seconds are those of all workers together."""
    modules: defaultdict[str, float] = defaultdict(float)
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        module = case.get("classname", "")
        tier = next((name for name in outcomes if module.startswith(FOLDERS[name].replace("/", "."))), "")
        tier = "browser" if "browser" in outcomes and module.startswith("tests.e2e.browser") else tier
        outcome = outcomes[tier or next(iter(outcomes))]
        seconds = float(case.get("time", 0))
        outcome.seconds += seconds
        modules[module.replace(".", "/") + ".py"] += seconds
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        elif case.find("skipped") is not None:
            outcome.skipped += 1
        else:
            outcome.passed += 1
    if file := os.environ.get("TEST_DURATIONS"):
        known = json.loads(Path(file).read_text()) if Path(file).exists() else {}
        known |= {
            module: round(seconds)
            for module, seconds in modules.items()
            if module.startswith("tests/") and seconds >= 1
        }
        Path(file).write_text(json.dumps(dict(sorted(known.items())), indent=2) + "\n")


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
    """Install the providers of end-to-end tests; where one cannot be had, its tests say so and skip."""
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
