#!/usr/bin/env python3
"""Run every test, tier by tier, and say how many of each ran. Used by ``make test``.

Arguments go to pytest (``make test ARGS="-k resume"``); with a path among them only that is run. The last line is
``N passed, N failed``; the exit code is not zero when anything failed or nothing ran.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".make" / "results"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PARALLEL = ("-n", "2", "--dist", "loadfile")


@dataclass(frozen=True)
class Tier:
    """A kind of test. What starts whole stacks runs alone: two cores carry one."""

    name: str
    arguments: tuple[str, ...]


TIERS = (
    Tier("unit", ("tests/unit", *PARALLEL)),
    Tier("integration", ("tests/integration", *PARALLEL)),
    Tier("deploy", ("tests/deploy", *PARALLEL)),
    Tier("e2e", ("tests/e2e", "--ignore=tests/e2e/browser")),
    Tier("browser", ("tests/e2e/browser",)),
    Tier("chaos", ("tests/chaos",)),
)


@dataclass
class Result:
    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0


def main(arguments: list[str]) -> int:
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    os.chdir(ROOT)
    chromium = find_chromium() or install_chromium()
    environment = dict(os.environ) | ({"CHROMIUM": chromium} if chromium else {})
    results: list[Result] = []
    if any(not word.startswith("-") and Path(word.partition("::")[0]).exists() for word in arguments):
        results.append(run_pytest(Tier("chosen", ()), arguments, environment))
    else:
        if not arguments:
            results.append(run_vitest())
        for tier in TIERS:
            if tier.name == "browser" and chromium is None:
                print("Browser tests did not run: there is no Chromium here, and it could not be installed.")
            elif Path(tier.arguments[0]).exists():
                results.append(run_pytest(tier, arguments, environment))
    return report(results)


def run_pytest(tier: Tier, arguments: list[str], environment: dict[str, str]) -> Result:
    announce(tier.name)
    file = RESULTS / f"{tier.name}.xml"
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={file}", *tier.arguments, *arguments]
    started = time.monotonic()
    code = subprocess.run(command, env=environment, check=False).returncode
    result = Result(tier.name, seconds=time.monotonic() - started)
    if file.exists():
        for suite in ElementTree.parse(file).iter("testsuite"):
            ran, bad, skipped = (
                int(suite.get("tests", 0)),
                int(suite.get("failures", 0)) + int(suite.get("errors", 0)),
                int(suite.get("skipped", 0)),
            )
            result.failed += bad
            result.skipped += skipped
            result.passed += max(0, ran - bad - skipped)
    nothing_collected = 5
    if code not in (0, nothing_collected) and result.failed == 0:
        result.failed = 1  # pytest itself failed: a module that does not import, say
    return result


def run_vitest() -> Result:
    announce("web")
    file = RESULTS / "web.json"
    reporters = ("--reporter=dot", "--reporter=json", f"--outputFile.json={file}")
    started = time.monotonic()
    code = subprocess.run([sys.executable, "tools/build_web.py", "test", *reporters], check=False).returncode
    result = Result("web", seconds=time.monotonic() - started)
    if file.exists():
        told = json.loads(file.read_text())
        result.passed, result.failed = told["numPassedTests"], told["numFailedTests"]
        result.skipped = told["numPendingTests"] + told["numTodoTests"]
    if code != 0 and result.failed == 0:
        result.failed = 1
    return result


def report(results: list[Result]) -> int:
    print(f"\n{'tier':<12} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}")
    for result in results:
        print(f"{result.name:<12} {result.passed:>7} {result.failed:>7} {result.skipped:>8} {result.seconds:>8.0f}")
    passed = sum(result.passed for result in results)
    failed = sum(result.failed for result in results)
    skipped = sum(result.skipped for result in results)
    print(f"\n{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""), flush=True)
    return 1 if failed or not passed else 0


# --- Chromium ---------------------------------------------------------------------------------------------------------


def find_chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or next((path for name in CHROMIUMS if (path := shutil.which(name))), None)


def install_chromium() -> str | None:
    """Install Debian's package where that is possible: as root, with apt."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    print("Installing Chromium for the browser tests (once)…", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
        subprocess.run(["apt-get", *words], stdout=subprocess.DEVNULL, check=False, env=environment)
    return find_chromium()


def announce(name: str) -> None:
    print(f"\n=== {name} ===", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
